// Threads of a crew wait for each other by spinning: a step takes about a microsecond,
// less than the system needs to wake a thread.
#pragma once

#include <sched.h>

#include "vector.h"

namespace jlstm::JLSTM_SET {

JLSTM_INLINE void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

struct alignas(64) Flag {
  int64_t reached;
};

// Stalls after which threads no longer run together.
constexpr int most_stalls = 2;

// A barrier of the ranks `first` to `first + size`; each has a flag of its own, in a
// cache line of its own, that counts how often it has come.
class Barrier {
 public:
  Barrier(Flag* flags, int first, int size, int rank)
      : flags_(flags + first), size_(size), mine_(rank - first) {}

  // The others have left: there is nobody to wait for any more.
  void stay_alone() { size_ = 1; }

  // How often somebody was so late that its processor must have been taken from it.
  int stalls() const { return stalls_; }

  void wait() {
    if (size_ == 1) return;
    bool stalled = false;
    ++count_;
    __atomic_store_n(&flags_[mine_].reached, count_, __ATOMIC_RELEASE);
    for (int other = 0; other < size_; ++other) {
      if (other == mine_) continue;
      int spins = 0;
      while (__atomic_load_n(&flags_[other].reached, __ATOMIC_ACQUIRE) < count_) {
        if (++spins < spins_before_yield) {
          relax();
        } else {
          // The other thread's processor may have been given to somebody else.
          sched_yield();
          spins = spins_before_yield / 2;
          stalled = true;
        }
      }
    }
    stalls_ += stalled;
  }

 private:
  static constexpr int spins_before_yield = 2000;
  Flag* flags_;
  int size_, mine_, stalls_ = 0;
  int64_t count_ = 0;
};

}  // namespace jlstm::JLSTM_SET
