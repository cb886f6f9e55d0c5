#include "payload.hpp"

#include <pthread.h>

namespace dcpx {

Payload::Memory Payload::Pool::take(std::size_t capacity) {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        for (std::size_t i = idle_.size(); i-- > 0;) {  // what came back last is likeliest still in a cache
            if (idle_[i].capacity < capacity || idle_[i].capacity / 2 > capacity) continue;
            Memory found = std::move(idle_[i]);
            idle_.erase(idle_.begin() + static_cast<std::ptrdiff_t>(i));
            total_ -= found.capacity;
            return found;
        }
    }
    return {std::unique_ptr<std::uint8_t[]>(new std::uint8_t[capacity]), capacity};
}

void Payload::Pool::put(Memory memory) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (total_ + memory.capacity > most) return;
    total_ += memory.capacity;
    idle_.push_back(std::move(memory));
}

Payload::Pool& Payload::pool() {
    static Pool* const shared = new Pool;  // never destroyed: payloads may outlive every static
    return *shared;
}

void Payload::survive_forks() {
    pool();
    pthread_atfork([] { pool().lock(); }, [] { pool().unlock(); }, [] { pool().unlock(); });
}

}  // namespace dcpx
