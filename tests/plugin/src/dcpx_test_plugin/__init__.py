"""Extensions as third parties write them: rot13 and xor over plain `io`, crc32 over dcpx's own streams."""
