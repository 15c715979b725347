// What calls remember of each other: whether this process has its processors for itself.
#include <atomic>
#include <chrono>

#include "problem.h"

namespace jlstm {
namespace {

// Long enough that trying again costs little, short enough to notice an idle machine.
constexpr std::chrono::nanoseconds memory = std::chrono::milliseconds(500);

std::atomic<int64_t> crowded_until{0};

}  // namespace

int64_t nanoseconds() {
  return std::chrono::steady_clock::now().time_since_epoch() /
         std::chrono::nanoseconds(1);
}

bool crowded() { return nanoseconds() < crowded_until.load(std::memory_order_relaxed); }

void tell_crowded() {
  crowded_until.store(nanoseconds() + memory.count(), std::memory_order_relaxed);
}

}  // namespace jlstm
