// What the kernels hand to Python: a chunk's bytes, in memory that goes round.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace dcpx {

// A chunk's bytes, coded or as they were. Their memory goes back to a pool: as fresh memory each would cost hundreds of
// page faults, which threads of one process take one after another.
class Payload {
  public:
    explicit Payload(std::size_t capacity) : memory_(pool().take(capacity)) {}
    ~Payload() { pool().put(std::move(memory_)); }
    Payload(const Payload&) = delete;
    Payload& operator=(const Payload&) = delete;

    std::uint8_t* data() const { return memory_.bytes.get(); }
    std::size_t size = 0;

    // A fork copies the pool's lock as it is: around one it must be nobody's, or the child would wait for ever. To be
    // called before any thread makes a payload.
    static void survive_forks();

  private:
    struct Memory {
        std::unique_ptr<std::uint8_t[]> bytes;
        std::size_t capacity = 0;
    };

    class Pool {
      public:
        Memory take(std::size_t capacity);
        void put(Memory memory);
        void lock() { mutex_.lock(); }
        void unlock() { mutex_.unlock(); }

      private:
        static constexpr std::size_t most = std::size_t{16} << 20;  // bytes that may lie idle
        std::mutex mutex_;
        std::vector<Memory> idle_;
        std::size_t total_ = 0;
    };

    static Pool& pool();

    Memory memory_;
};

}  // namespace dcpx
