// Frames for Python: many at once, without its lock.
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "binding.hpp"
#include "float/float_codec.hpp"
#include "frames.hpp"

namespace dcpx {
namespace {

// Each job is (offset, size, out, key, form, seal). The list is copied, as for decode_chunks.
nb::list unpack_frames(nb::handle source, nb::list list, nb::object checkpoint, std::uint32_t codecs) {
    const nb::tuple jobs(list);
    const Bytes stored(source, false);
    const std::uint8_t* save = nullptr;
    if (!checkpoint.is_none()) {
        const std::string_view id = text(nb::cast<nb::bytes>(checkpoint));
        if (id.size() != 16) throw nb::value_error("a checkpoint's id has 16 bytes");
        save = reinterpret_cast<const std::uint8_t*>(id.data());
    }
    std::vector<Bytes> held;
    std::vector<FrameJob> ready;
    std::vector<std::uint64_t> seals(jobs.size());
    ready.reserve(jobs.size());
    for (const nb::handle item : jobs) {
        if (!nb::isinstance<nb::tuple>(item)) throw nb::type_error("a job is a tuple");
        const nb::tuple job = nb::borrow<nb::tuple>(item);
        if (job.size() != 6) throw nb::value_error("a job is (offset, size, out, key, form, seal)");
        const std::size_t offset = integer<std::size_t>(job[0]), size = integer<std::size_t>(job[1]);
        if (offset > stored.size() || size > stored.size() - offset) throw nb::value_error("a frame beyond the source");
        std::uint64_t* seal = nullptr;
        if (!job[5].is_none()) {
            seal = &seals[ready.size()];
            *seal = integer<std::uint64_t>(job[5]);
        }
        const FrameForm* const form = nb::cast<const FrameForm*>(job[4]);
        if (form == nullptr) throw nb::value_error("no form");
        std::uint8_t* const out = memory(job[2], form->nbytes, true, held);
        const std::string_view key = text(nb::cast<nb::bytes>(job[3]));
        ready.push_back({stored.data() + offset, size, form, key, save, seal, codecs, out});
    }
    std::vector<std::size_t> refused;
    {
        const nb::gil_scoped_release nogil;
        std::uint8_t* const scratch = thread_scratch(decode_scratch);
        for (std::size_t i = 0; i < ready.size(); ++i)
            if (!unpack_frame(ready[i], scratch)) refused.push_back(i);
    }
    nb::list found;
    for (const std::size_t i : refused) found.append(i);
    return found;
}

std::string_view field(nb::handle value) {
    return value.is_none() ? std::string_view() : text(nb::cast<nb::bytes>(value));
}

nb::bytes as_bytes(const std::string& value) { return nb::bytes(value.data(), value.size()); }

// Each job is (elements, key, form, codecs).
nb::list pack_frames(nb::list list, std::size_t chunk_size, nb::object checkpoint) {
    const nb::tuple jobs(list);
    struct Whole {
        HeaderFields fields;
        const FrameForm* form;
        const std::uint8_t* elements;
        std::size_t end;
        std::uint64_t hash;
    };
    std::vector<Bytes> held;
    std::vector<Whole> ready;
    ready.reserve(jobs.size());
    for (const nb::handle item : jobs) {
        if (!nb::isinstance<nb::tuple>(item)) throw nb::type_error("a job is a tuple");
        const nb::tuple job = nb::borrow<nb::tuple>(item);
        if (job.size() != 4) throw nb::value_error("a job is (elements, key, form, codecs)");
        const FrameForm* const form = nb::cast<const FrameForm*>(job[2]);
        if (form == nullptr || form->before.size() + form->nbytes + form->after.size() > chunk_size)
            throw nb::value_error("no form, or one of more than a chunk");
        const HeaderFields fields{chunk_size, field(job[3]), field(job[1]), form->hint, field(checkpoint)};
        ready.push_back({fields, form, memory(job[0], form->nbytes, false, held), 0, 0});
    }
    std::string frames;
    {
        const nb::gil_scoped_release nogil;
        for (Whole& one : ready) {
            FrameMaker maker(one.fields);
            pack_whole(maker, *one.form, one.elements, frames);
            one.end = frames.size();
            one.hash = maker.hash();
        }
    }
    nb::list found;
    std::size_t begin = 0;
    for (const Whole& one : ready) {
        found.append(nb::make_tuple(nb::bytes(frames.data() + begin, one.end - begin), one.hash));
        begin = one.end;
    }
    return found;
}

}  // namespace

void bind_frames(nb::module_& m) {
    nb::class_<FrameForm>(m, "FrameForm", "What the frames of all tensors of one dtype and shape have in common.")
        .def(
            "__init__",
            [](FrameForm* form, nb::bytes hint, nb::bytes arguments, nb::bytes before, nb::bytes after,
               std::size_t nbytes, std::size_t width) {
                if (width == 0) throw nb::value_error("an element has at least one byte");
                new (form) FrameForm(text(hint), text(arguments), text(before), text(after), nbytes, width);
            },
            nb::arg("hint"), nb::arg("arguments"), nb::arg("before"), nb::arg("after"), nb::arg("nbytes"),
            nb::arg("width"));
    m.def("unpack_frames", unpack_frames, nb::arg("stored"), nb::arg("jobs"), nb::arg("checkpoint").none(),
          nb::arg("codecs"),
          "Check and decode frames of tensors as dcpx writes them, each (offset, size, out, key, form, seal): where "
          "it lies in stored, which doesn't change meanwhile, and where the form's bytes of elements go; the item key "
          "and, unless None, the header's hash that it must have. The indices of those that are refused, or are for "
          "Python, whose elements are unspecified.");
    m.def("pack_frames", pack_frames, nb::arg("jobs"), nb::arg("chunk_size"), nb::arg("checkpoint").none(),
          "(frame, header's hash) of each tensor that shares its only chunk with its container: (elements, key, form, "
          "codecs), the elements a buffer, key and checkpoint None where the header does without.");
    nb::class_<FrameMaker>(m, "FrameMaker",
                           "Makes all of one frame but the payloads; ValueError for more than a header may hold.")
        .def(
            "__init__",
            [](FrameMaker* maker, std::size_t chunk_size, nb::bytes codecs, nb::object key, nb::object hint,
               nb::object checkpoint) {
                const HeaderFields fields{chunk_size, text(codecs), field(key), field(hint), field(checkpoint)};
                try {
                    new (maker) FrameMaker(fields);
                } catch (const std::length_error& error) {
                    throw nb::value_error(error.what());
                }
            },
            nb::arg("chunk_size"), nb::arg("codecs"), nb::arg("key").none(), nb::arg("hint").none(),
            nb::arg("checkpoint").none())
        .def_prop_ro(
            "head", [](const FrameMaker& maker) { return as_bytes(maker.head()); }, "The header.")
        .def_prop_ro("hash", &FrameMaker::hash, "The header's hash.")
        .def(
            "chunk",
            [](FrameMaker& maker, std::uint8_t codec, std::uint16_t parameter, std::uint32_t stored, std::uint32_t raw,
               std::uint64_t content) { return as_bytes(maker.chunk(codec, parameter, {stored, raw, content})); },
            nb::arg("codec"), nb::arg("parameter"), nb::arg("stored"), nb::arg("raw"), nb::arg("content"),
            "The header of the next chunk.")
        .def(
            "tail", [](const FrameMaker& maker) { return as_bytes(maker.tail()); },
            "The final record of a frame with the chunks so far.");
}

}  // namespace dcpx
