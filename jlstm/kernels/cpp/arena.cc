// Scratch memory that a thread keeps: a fresh mapping of some megabytes costs as much
// as a tenth of a layer, page by page.
#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>

#include "problem.h"

namespace jlstm {
namespace {

constexpr int64_t huge_page = int64_t{1} << 21;
constexpr int64_t most_kept = int64_t{1} << 27;

class Arena {
 public:
  ~Arena() { std::free(memory_); }

  void* get(int64_t bytes) {
    if (memory_ && bytes <= size_ && size_ <= larger(most_kept, bytes)) return memory_;
    std::free(memory_);
    memory_ = nullptr;
    const int64_t page = bytes >= huge_page ? huge_page : 64;
    size_ = (larger(bytes, 1) + page - 1) / page * page;
    memory_ = std::aligned_alloc(static_cast<size_t>(page), static_cast<size_t>(size_));
#if defined(MADV_HUGEPAGE)
    if (memory_ && page == huge_page)
      madvise(memory_, static_cast<size_t>(size_), MADV_HUGEPAGE);
#endif
    return memory_;
  }

 private:
  static int64_t larger(int64_t a, int64_t b) { return a < b ? b : a; }

  void* memory_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace

void expect_large(void* memory, int64_t bytes) {
#if defined(MADV_HUGEPAGE)
  const auto mask = static_cast<uintptr_t>(huge_page - 1);
  const auto from = (reinterpret_cast<uintptr_t>(memory) + mask) & ~mask;
  const auto end = reinterpret_cast<uintptr_t>(memory) + static_cast<uintptr_t>(bytes);
  const auto to = end & ~mask;
  if (from < to) madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE);
#else
  (void)memory, (void)bytes;
#endif
}

void* arena(int64_t bytes) {
  static thread_local Arena mine;
  return mine.get(bytes);
}

}  // namespace jlstm
