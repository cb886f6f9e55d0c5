"""The torch side: DCP's storage writer and reader with dcpx's extensions, and `save` and `load` over them."""
