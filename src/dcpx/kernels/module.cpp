// The binding checks every length and owns every buffer; the kernels behind it only loop.
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "binding.hpp"
#include "boxes.hpp"
#include "chunks.hpp"
#include "float/float_codec.hpp"
#include "hash/xxh3.hpp"
#include "payload.hpp"
#include "planes.hpp"
#include "sniff.hpp"

namespace nb = nanobind;

namespace {

using dcpx::Bytes;
using dcpx::Payload;
using dcpx::thread_scratch;

int payload_buffer(PyObject* self, Py_buffer* view, int flags) {
    if (!nb::inst_ready(self)) {  // made by __new__ alone
        view->obj = nullptr;
        PyErr_SetString(PyExc_BufferError, "the payload was never made");
        return -1;
    }
    const Payload* const payload = nb::inst_ptr<Payload>(self);
    return PyBuffer_FillInfo(view, self, payload->data(), static_cast<Py_ssize_t>(payload->size), 1, flags);
}

PyType_Slot payload_slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(payload_buffer)}, {0, nullptr}};

bool overlap(const Bytes& a, const Bytes& b) {
    return a.size() != 0 && b.size() != 0 && a.data() < b.data() + b.size() && b.data() < a.data() + a.size();
}

using PlaneKernel = void (*)(const std::uint8_t*, std::uint8_t*, std::size_t, std::size_t) noexcept;

void run(PlaneKernel kernel, nb::handle source, nb::handle target, std::size_t width) {
    const Bytes src(source, false);
    const Bytes dst(target, true);
    if (!dcpx::is_lane_width(width)) throw nb::value_error("width must be 2, 4 or 8");
    if (src.size() != dst.size()) throw nb::value_error("source and target must have the same length");
    if (src.size() % width != 0) throw nb::value_error("the length must be a multiple of width");
    if (overlap(src, dst)) throw nb::value_error("source and target overlap");
    const nb::gil_scoped_release nogil;
    kernel(src.data(), dst.data(), src.size() / width, width);
}

dcpx::Lane checked_lane(unsigned width, bool rotated) {
    const dcpx::Lane lane{width, rotated ? dcpx::Form::rotated : dcpx::Form::plain};
    if (!dcpx::is_lane(lane)) throw nb::value_error("width must be 1, 2, 4 or 8, and not rotated where it is 1");
    return lane;
}

void check_chunk(const Bytes& src) {
    if (src.size() > dcpx::max_chunk) throw nb::value_error("a chunk must not exceed 16 MiB");
}

// A chunk coded as spec/float.md says; of size 0 where that isn't smaller, without payload where it wasn't tried.
struct Made {
    std::unique_ptr<Payload> payload;
    unsigned parameter = 0;

    Made() = default;
    Made(const std::uint8_t* src, std::size_t size, dcpx::Lane lane, dcpx::Level level)
        : payload(std::make_unique<Payload>(size)) {
        std::uint8_t* const scratch = thread_scratch(dcpx::encode_scratch(size));
        const dcpx::Coded coded = dcpx::encode(src, size, lane, level, payload->data(), size, scratch);
        payload->size = coded.size;
        parameter = dcpx::parameter_of(coded.lane);
    }
};

nb::object view_of(std::unique_ptr<Payload> payload) {
    const nb::object owner = nb::cast(payload.release(), nb::rv_policy::take_ownership);
    PyObject* const view = PyMemoryView_FromObject(owner.ptr());
    if (view == nullptr) throw nb::python_error();
    return nb::steal(view);
}

nb::object made_if_smaller(Made made) {
    if (!made.payload || made.payload->size == 0) return nb::none();
    return nb::make_tuple(made.parameter, view_of(std::move(made.payload)));
}

nb::object float_encode(nb::handle source, unsigned width, bool rotated, bool small) {
    const dcpx::Lane lane = checked_lane(width, rotated);
    const Bytes src(source, false);
    check_chunk(src);
    Made made;
    {
        const nb::gil_scoped_release nogil;
        made = Made(src.data(), src.size(), lane, small ? dcpx::Level::small : dcpx::Level::fast);
    }
    return made_if_smaller(std::move(made));
}

// A chunk's bytes as they are at one moment, from memory that others may write to meanwhile, and their hash.
struct Taken {
    std::unique_ptr<Payload> copy;
    std::uint64_t content;

    explicit Taken(const Bytes& src) : copy(std::make_unique<Payload>(src.size())) {
        copy->size = src.size();
        dcpx::Xxh3 hash;
        hash.update_copying(src.data(), src.size(), copy->data());
        content = hash.digest64();
    }
};

nb::tuple take_chunk(nb::handle source) {
    const Bytes src(source, false);
    check_chunk(src);
    std::unique_ptr<Taken> taken;
    {
        const nb::gil_scoped_release nogil;
        taken = std::make_unique<Taken>(src);
    }
    return nb::make_tuple(view_of(std::move(taken->copy)), taken->content);
}

// Everything that the fast level asks of a chunk, in one call: each return to Python may have to wait for its lock.
nb::tuple encode_chunk(nb::handle source, unsigned width, bool rotated, bool still, unsigned most) {
    const dcpx::Lane lane = checked_lane(width, rotated);
    const Bytes src(source, false);
    check_chunk(src);
    std::unique_ptr<Payload> copy;
    Made made;
    std::uint64_t content;
    unsigned repeated;
    {
        const nb::gil_scoped_release nogil;
        const std::uint8_t* bytes = src.data();
        if (still) {
            content = dcpx::xxh3(bytes, src.size(), 0);
        } else {
            Taken taken(src);
            copy = std::move(taken.copy);
            content = taken.content;
            bytes = copy->data();
        }
        repeated = dcpx::repeats(bytes, src.size());
        if (repeated < most) made = Made(bytes, src.size(), lane, dcpx::Level::fast);
    }
    const nb::object raw = still ? nb::borrow(source) : view_of(std::move(copy));
    return nb::make_tuple(raw, content, made_if_smaller(std::move(made)), repeated);
}

const char* reason(dcpx::Status status) {
    switch (status) {
        case dcpx::Status::ok:
            return nullptr;
        case dcpx::Status::bad_argument:
            return "lengths or lanes that no chunk has";
        case dcpx::Status::truncated:
            return "the chunk ends before what its header promises";
        case dcpx::Status::trailing:
            return "bytes follow the chunk's last part";
        case dcpx::Status::bad_method:
            return "unknown plane method";
        case dcpx::Status::bad_table:
            return "a code table that is no full code";
        case dcpx::Status::bad_stream:
            return "a stream of more or fewer symbols or bits than it must have";
        case dcpx::Status::bad_patch:
            return "patches that are out of order or outside the chunk";
        case dcpx::Status::bad_number:
            return "a lane of a value that the palette lacks";
    }
    return "unknown status";
}

void float_decode(nb::handle source, nb::handle target, unsigned parameter) {
    const dcpx::Lane lane = dcpx::lane_of(parameter);
    if (parameter > 0xffff || !dcpx::is_lane(lane)) throw nb::value_error("a parameter of no lanes");
    const Bytes src(source, false);
    const Bytes dst(target, true);
    if (overlap(src, dst)) throw nb::value_error("source and target overlap");
    dcpx::Status status;
    {
        const nb::gil_scoped_release nogil;
        std::uint8_t* const scratch = thread_scratch(dcpx::decode_scratch);
        status = dcpx::decode(src.data(), src.size(), lane, dst.data(), dst.size(), scratch);
    }
    if (status != dcpx::Status::ok) throw nb::value_error(reason(status));
}

// Each job is (record, out, number, seed, content, codecs); its buffers are held for the time of the call. What a job
// holds may run code of its own while it is looked at, which must not change the list under our feet: hence a tuple.
nb::list decode_chunks(nb::list list) {
    const nb::tuple jobs(list);
    std::vector<Bytes> held;
    std::vector<dcpx::ChunkJob> ready;
    held.reserve(2 * jobs.size());
    ready.reserve(jobs.size());
    for (const nb::handle item : jobs) {
        const nb::tuple job = nb::cast<nb::tuple>(item);
        if (job.size() != 6) throw nb::value_error("a job is (record, out, number, seed, content, codecs)");
        const Bytes& record = held.emplace_back(job[0], false);
        const Bytes& out = held.emplace_back(job[1], true);
        if (overlap(record, out)) throw nb::value_error("a record and its target overlap");
        ready.push_back({record.data(), record.size(), out.data(), out.size(), nb::cast<std::uint32_t>(job[2]),
                         nb::cast<std::uint64_t>(job[3]), nb::cast<std::uint64_t>(job[4]),
                         nb::cast<std::uint32_t>(job[5])});
    }
    std::vector<std::size_t> failed;
    {
        const nb::gil_scoped_release nogil;
        std::uint8_t* const scratch = thread_scratch(dcpx::decode_scratch);
        for (std::size_t i = 0; i < ready.size(); ++i)
            if (!dcpx::decode_chunk(ready[i], scratch)) failed.push_back(i);
    }
    nb::list found;
    for (const std::size_t i : failed) found.append(i);
    return found;
}

// Each job is (offset, size, out, number, seed, content, codecs); a record is read just before it is decoded, into
// memory that stays in this core's cache.
nb::list read_chunks(int descriptor, nb::list list) {
    const nb::tuple jobs(list);
    struct Read {
        off_t offset;
        std::size_t size;
        dcpx::ChunkJob job;
    };
    std::vector<Bytes> held;
    std::vector<Read> ready;
    held.reserve(jobs.size());
    ready.reserve(jobs.size());
    for (const nb::handle item : jobs) {
        const nb::tuple job = nb::cast<nb::tuple>(item);
        if (job.size() != 7) throw nb::value_error("a job is (offset, size, out, number, seed, content, codecs)");
        const std::size_t size = nb::cast<std::size_t>(job[1]);
        if (size > dcpx::max_chunk + dcpx::chunk_header_size) throw nb::value_error("a chunk must not exceed 16 MiB");
        const Bytes& out = held.emplace_back(job[2], true);
        ready.push_back(
            {static_cast<off_t>(nb::cast<std::int64_t>(job[0])),
             size,
             {nullptr, size, out.data(), out.size(), nb::cast<std::uint32_t>(job[3]), nb::cast<std::uint64_t>(job[4]),
              nb::cast<std::uint64_t>(job[5]), nb::cast<std::uint32_t>(job[6])}});
    }
    std::vector<std::size_t> failed;
    {
        const nb::gil_scoped_release nogil;
        for (std::size_t i = 0; i < ready.size(); ++i) {
            Read& read = ready[i];
            const std::size_t room = (read.size + 63) / 64 * 64;
            std::uint8_t* const scratch = thread_scratch(dcpx::decode_scratch + room);
            read.job.record = scratch + dcpx::decode_scratch;
            const ssize_t count = pread(descriptor, scratch + dcpx::decode_scratch, read.size, read.offset);
            if (count != static_cast<ssize_t>(read.size) || !dcpx::decode_chunk(read.job, scratch)) failed.push_back(i);
        }
    }
    nb::list found;
    for (const std::size_t i : failed) found.append(i);
    return found;
}

std::size_t copy_part(nb::handle source, std::size_t begin, nb::handle target, nb::tuple shape, nb::tuple offsets,
                      nb::tuple sizes, std::size_t width) {
    dcpx::Part part{};
    part.dimensions = shape.size();
    part.width = width;
    if (part.dimensions > dcpx::max_dimensions || offsets.size() != part.dimensions || sizes.size() != part.dimensions)
        throw nb::value_error("shape, offsets and sizes must be of equal length, at most 64");
    std::size_t elements = 1, whole = width;
    for (std::size_t i = 0; i < part.dimensions; ++i) {
        part.shape[i] = nb::cast<std::size_t>(shape[i]);
        part.offsets[i] = nb::cast<std::size_t>(offsets[i]);
        part.sizes[i] = nb::cast<std::size_t>(sizes[i]);
        if (part.sizes[i] == 0 || part.sizes[i] > part.shape[i] || part.offsets[i] > part.shape[i] - part.sizes[i])
            throw nb::value_error("the part is empty or reaches beyond the shape");
        elements *= part.sizes[i];
        if (__builtin_mul_overflow(whole, part.shape[i], &whole)) throw nb::value_error("the shape is too large");
    }
    const Bytes src(source, false);
    const Bytes dst(target, true);
    if (width == 0 || dst.size() != elements * width) throw nb::value_error("the target isn't as large as the part");
    if (begin > whole || src.size() > whole - begin) throw nb::value_error("the source reaches beyond the shape");
    if (overlap(src, dst)) throw nb::value_error("source and target overlap");
    const nb::gil_scoped_release nogil;
    return dcpx::copy_part(part, src.data(), begin, src.size(), dst.data());
}

// Below this many bytes hashing takes less than giving Python's lock away and getting it back.
constexpr std::size_t worth_releasing = std::size_t{64} << 10;

std::uint64_t xxh3(nb::handle source, std::uint64_t seed) {
    const Bytes src(source, false);
    if (src.size() < worth_releasing) return dcpx::xxh3(src.data(), src.size(), seed);
    const nb::gil_scoped_release nogil;
    return dcpx::xxh3(src.data(), src.size(), seed);
}

nb::bytes xxh3_128(nb::handle source) {
    const Bytes src(source, false);
    std::uint8_t digest[16];
    dcpx::hash::xxh3_128(src.data(), src.size(), digest);
    return nb::bytes(digest, sizeof digest);
}

// XXH3-128 of pieces. Its state belongs to one call at a time: a second one is told so instead of spoiling both.
class Hasher {
  public:
    void update(nb::handle source, nb::handle target) {
        const Bytes src(source, false);
        if (!target.is_none()) return update_copying(src, Bytes(target, true));
        const Turn turn(busy_);
        if (src.size() < worth_releasing) return state_.update(src.data(), src.size());
        const nb::gil_scoped_release nogil;
        state_.update(src.data(), src.size());
    }
    nb::bytes digest() {
        std::uint8_t bytes[16];
        finish(bytes);
        return nb::bytes(bytes, sizeof bytes);
    }
    nb::str hexdigest() {
        std::uint8_t bytes[16];
        finish(bytes);
        char text[32];
        for (unsigned i = 0; i < 16; ++i) {
            text[2 * i] = "0123456789abcdef"[bytes[15 - i] >> 4];
            text[2 * i + 1] = "0123456789abcdef"[bytes[15 - i] & 15];
        }
        return nb::str(text, sizeof text);
    }

  private:
    class Turn {
      public:
        explicit Turn(std::atomic<bool>& busy) : busy_(busy) {
            if (busy_.exchange(true, std::memory_order_acquire))
                throw std::runtime_error("an Xxh3_128 is used by two threads at once");
        }
        ~Turn() { busy_.store(false, std::memory_order_release); }
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;

      private:
        std::atomic<bool>& busy_;
    };

    void update_copying(const Bytes& src, const Bytes& copy) {
        if (copy.size() != src.size()) throw nb::value_error("source and copy must have the same length");
        if (overlap(src, copy)) throw nb::value_error("source and copy overlap");
        const Turn turn(busy_);
        const nb::gil_scoped_release nogil;
        state_.update_copying(src.data(), src.size(), copy.data());
    }
    void finish(std::uint8_t* bytes) {
        const Turn turn(busy_);
        state_.digest(bytes);
    }

    dcpx::Xxh3 state_;
    std::atomic<bool> busy_{false};
};

std::pair<unsigned, bool> sniff_lane(nb::handle source) {
    const Bytes src(source, false);
    const nb::gil_scoped_release nogil;
    const dcpx::Lane lane = dcpx::sniff_lane(src.data(), src.size());
    return {lane.width, lane.form == dcpx::Form::rotated};
}

unsigned repeats(nb::handle source) {
    const Bytes src(source, false);
    const nb::gil_scoped_release nogil;
    return dcpx::repeats(src.data(), src.size());
}

nb::bytes sample(nb::handle source) {
    const Bytes src(source, false);
    std::string made;
    {
        const nb::gil_scoped_release nogil;
        const dcpx::Pieces pieces(src.size());
        const std::size_t step = pieces.count() > 8 ? 2 : 1;  // to code these takes longer than to look at them
        for (std::size_t p = 0; p < pieces.count(); p += step)
            made.append(reinterpret_cast<const char*>(src.data()) + pieces[p].start, pieces[p].size);
    }
    return nb::bytes(made.data(), made.size());
}

bool use_instructions(const char* name) {
    const std::string_view wanted(name);
    if (wanted == "portable") return dcpx::force_path(dcpx::Path::portable);
    if (wanted == "avx2") return dcpx::force_path(dcpx::Path::avx2);
    if (wanted == "avx512") return dcpx::force_path(dcpx::Path::avx512);
    if (wanted == "best") return dcpx::force_path(dcpx::Path::best);
    throw nb::value_error("instructions are portable, avx2, avx512 or best");
}

}  // namespace

NB_MODULE(_native, m) {
    nb::set_leak_warnings(false);  // a traceback that lives until the interpreter's end is no leak
    m.doc() = "Native hot loops of dcpx; the *_reference modules beside it hold the same in NumPy, as their oracle.";
    m.def(
        "split_planes",
        [](nb::handle src, nb::handle dst, std::size_t width) { run(dcpx::split_planes, src, dst, width); },
        nb::arg("src"), nb::arg("dst"), nb::arg("width"),
        "Write byte j of lane i of src to dst[j * lanes + i]. ValueError for sizes that don't fit.");
    m.def(
        "merge_planes",
        [](nb::handle src, nb::handle dst, std::size_t width) { run(dcpx::merge_planes, src, dst, width); },
        nb::arg("src"), nb::arg("dst"), nb::arg("width"),
        "The inverse of split_planes. ValueError for sizes that don't fit.");
    nb::class_<Payload>(m, "Payload", nb::type_slots(payload_slots), "The memory of a chunk, which never changes.");
    Payload::survive_forks();
    m.def("float_encode", float_encode, nb::arg("src"), nb::arg("width"), nb::arg("rotated"), nb::arg("small"),
          "(parameter, a view of the payload): the chunk src coded as spec/float.md says, or None where that isn't "
          "smaller. Width and rotated say what its elements are; a sample may choose another form for its lanes.");
    m.def("take_chunk", take_chunk, nb::arg("src"),
          "(a view of a copy of src, XXH3-64 of the copy), whatever else is written to src meanwhile.");
    m.def("encode_chunk", encode_chunk, nb::arg("src"), nb::arg("width"), nb::arg("rotated"), nb::arg("still"),
          nb::arg("most"),
          "(src itself if it holds still, else as take_chunk a view of a copy, and of that: its XXH3-64, what "
          "float_encode gives at the fast level or None where it repeats as much as `most`, what repeats gives).");
    m.def("float_decode", float_decode, nb::arg("src"), nb::arg("dst"), nb::arg("parameter"),
          "Fill dst with the chunk coded in src. ValueError where src isn't such a chunk of len(dst) bytes.");
    m.def("decode_chunks", decode_chunks, nb::arg("jobs"),
          "Decode and verify chunks of codec raw or float, each (record, out, number, seed, content, codecs), codecs "
          "with "
          "a bit for each id that the frame's header names; the indices of those that are of another codec or don't "
          "verify, whose out is unspecified.");
    m.def("read_chunks", read_chunks, nb::arg("descriptor"), nb::arg("jobs"),
          "As decode_chunks, with records that are read from an open file, each job (offset, size, out, number, seed, "
          "content, codecs); what can't be read in one go is among the indices returned.");
    dcpx::bind_frames(m);
    m.def("copy_part", copy_part, nb::arg("src"), nb::arg("begin"), nb::arg("dst"), nb::arg("shape"),
          nb::arg("offsets"), nb::arg("sizes"), nb::arg("width"),
          "Copy what src, an array's bytes from begin on, has of a rectangular part, which dst holds alone in C order; "
          "the bytes copied. Shape, offsets and sizes are in elements of width bytes.");
    m.def("xxh3", xxh3, nb::arg("src"), nb::arg("seed"), "XXH3-64 of src.");
    m.def("xxh3_128", xxh3_128, nb::arg("src"), "XXH3-128 of src, 16 bytes, the least significant first.");
    nb::class_<Hasher>(m, "Xxh3_128",
                       "XXH3-128 of bytes given piece by piece; RuntimeError where two threads use it at once.")
        .def(nb::init<>())
        .def("update", &Hasher::update, nb::arg("src"), nb::arg("copy") = nb::none(),
             "Hash src after what came before it; with copy, src is copied there, and what is hashed is the copy.")
        .def("digest", &Hasher::digest, "Of all so far, as the function xxh3_128 gives it.")
        .def("hexdigest", &Hasher::hexdigest, "Of all so far, as xxhsum and python-xxhash print it.");
    m.def("sniff_lane", sniff_lane, nb::arg("src"),
          "(width, rotated): how the bytes of src seem to group, from at most 8 KiB of samples.");
    m.def("repeats", repeats, nb::arg("src"),
          "Of 1024 strings of 16 bytes in pieces of src, how many stood there earlier.");
    m.def("sample", sample, nb::arg("src"),
          "Pieces of src, one after another, that stand for all of it: all of what is short, a sixteenth of what is "
          "long.");
    m.def("use_instructions", use_instructions, nb::arg("name"),
          "Make the float codec use portable, avx2, avx512 or the best instructions; False where this CPU lacks them.");
}
