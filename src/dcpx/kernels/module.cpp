// The binding checks every length and owns every buffer; the kernels behind it only loop.
#include <nanobind/nanobind.h>

#include "planes.hpp"

namespace nb = nanobind;

namespace {

// A contiguous byte view of any object with the buffer protocol, held for the time of one call.
class Bytes {
 public:
  Bytes(nb::handle object, bool writable) {
    if (PyObject_GetBuffer(object.ptr(), &view_, writable ? PyBUF_WRITABLE : PyBUF_SIMPLE) != 0)
      throw nb::python_error();
  }
  ~Bytes() { PyBuffer_Release(&view_); }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;

  std::uint8_t* data() const { return static_cast<std::uint8_t*>(view_.buf); }
  std::size_t size() const { return static_cast<std::size_t>(view_.len); }

 private:
  Py_buffer view_{};
};

using PlaneKernel = void (*)(const std::uint8_t*, std::uint8_t*, std::size_t, std::size_t) noexcept;

void run(PlaneKernel kernel, nb::handle source, nb::handle target, std::size_t width) {
  const Bytes src(source, false);
  const Bytes dst(target, true);
  if (!dcpx::is_lane_width(width)) throw nb::value_error("width must be 2, 4 or 8");
  if (src.size() != dst.size()) throw nb::value_error("source and target must have the same length");
  if (src.size() % width != 0) throw nb::value_error("the length must be a multiple of width");
  if (src.size() != 0 && src.data() < dst.data() + dst.size() && dst.data() < src.data() + src.size())
    throw nb::value_error("source and target overlap");
  const nb::gil_scoped_release nogil;
  kernel(src.data(), dst.data(), src.size() / width, width);
}

}  // namespace

NB_MODULE(_native, m) {
  m.doc() = "Native hot loops of dcpx; dcpx.kernels.reference holds the same in NumPy, as their oracle.";
  m.def(
      "split_planes", [](nb::handle src, nb::handle dst, std::size_t width) { run(dcpx::split_planes, src, dst, width); },
      nb::arg("src"), nb::arg("dst"), nb::arg("width"),
      "Write byte j of lane i of src to dst[j * lanes + i]. ValueError for sizes that don't fit.");
  m.def(
      "merge_planes", [](nb::handle src, nb::handle dst, std::size_t width) { run(dcpx::merge_planes, src, dst, width); },
      nb::arg("src"), nb::arg("dst"), nb::arg("width"),
      "The inverse of split_planes. ValueError for sizes that don't fit.");
}
