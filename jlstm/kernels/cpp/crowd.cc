// What calls remember of each other: whether this process has its processors for itself.
#if defined(__linux__)
#include <sched.h>
#endif

#include <atomic>
#include <chrono>
#include <thread>

#include "problem.h"

namespace jlstm {
namespace {

// What is remembered of an alarm, in nanoseconds: a moment, for somebody may have passed
// by; each time longer where the next one comes as soon as it is forgotten.
constexpr int64_t moment = 8'000'000, longest = 512'000'000;

std::atomic<int64_t> remembered{0};
std::atomic<int64_t> crowded_until{0};

}  // namespace

int64_t nanoseconds() {
  return std::chrono::steady_clock::now().time_since_epoch() /
         std::chrono::nanoseconds(1);
}

bool crowded() { return nanoseconds() < crowded_until.load(std::memory_order_relaxed); }

void tell_crowded() {
  const int64_t now = nanoseconds();
  int64_t memory = remembered.load(std::memory_order_relaxed);
  const bool again = now - crowded_until.load(std::memory_order_relaxed) < memory;
  memory = !again ? moment : memory < longest ? 2 * memory : longest;
  remembered.store(memory, std::memory_order_relaxed);
  crowded_until.store(now + memory, std::memory_order_relaxed);
}

#if defined(__linux__)

int processor() { return sched_getcpu(); }

int processors() {
  cpu_set_t all;
  return sched_getaffinity(0, sizeof all, &all) == 0 ? CPU_COUNT(&all) : 1;
}

void leave_processor() {
  cpu_set_t all, others;
  if (sched_getaffinity(0, sizeof all, &all) != 0) return;
  others = all;
  CPU_CLR(static_cast<size_t>(sched_getcpu()), &others);
  if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0)
    return;
  sched_setaffinity(0, sizeof all, &all);  // it may come back, but need not
}

#else

int processor() { return -1; }
int processors() { return static_cast<int>(std::thread::hardware_concurrency()); }
void leave_processor() {}

#endif

}  // namespace jlstm
