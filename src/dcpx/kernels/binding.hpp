// What the files that bind kernels to Python have in common.
#pragma once
#include <nanobind/nanobind.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace dcpx {

namespace nb = nanobind;

// A contiguous byte view of any object with the buffer protocol, held for the time of one call.
class Bytes {
  public:
    Bytes(nb::handle object, bool writable) {
        if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_ND | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)) != 0)
            throw nb::python_error();
        if (view_.format != nullptr && std::strchr(view_.format, 'O') != nullptr) {
            PyBuffer_Release(&view_);
            throw nb::type_error("a buffer of Python objects holds pointers, not data");
        }
    }
    ~Bytes() { PyBuffer_Release(&view_); }
    Bytes(Bytes&& other) noexcept : view_(other.view_) { other.view_ = {}; }
    Bytes(const Bytes&) = delete;
    Bytes& operator=(const Bytes&) = delete;

    std::uint8_t* data() const { return static_cast<std::uint8_t*>(view_.buf); }
    std::size_t size() const { return static_cast<std::size_t>(view_.len); }

  private:
    Py_buffer view_{};
};

// Memory that a thread keeps from call to call: fresh pages would cost more than the coding.
inline std::uint8_t* thread_scratch(std::size_t size) {
    thread_local std::unique_ptr<std::uint8_t[]> memory;
    thread_local std::size_t capacity = 0;
    if (size > capacity) {
        capacity = 0;
        memory.reset(new std::uint8_t[size]);
        capacity = size;
    }
    return memory.get();
}

inline std::string_view text(const nb::bytes& value) { return {value.c_str(), value.size()}; }

// `size` bytes of memory: a buffer, which is `held` as long as that lives.
inline std::uint8_t* memory(nb::handle object, std::size_t size, bool writable, std::vector<Bytes>& held) {
    const Bytes& buffer = held.emplace_back(object, writable);
    if (buffer.size() != size) throw nb::value_error("a buffer of another size than the tensor");
    return buffer.data();
}

// An integer of a job. ValueError where it's none, or doesn't fit.
template <class T>
T integer(nb::handle object) {
    T value{};
    if (!nb::try_cast(object, value)) throw nb::value_error("a job's integer is none, or out of range");
    return value;
}

void bind_frames(nb::module_& m);

}  // namespace dcpx
