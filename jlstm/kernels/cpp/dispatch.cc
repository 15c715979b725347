#include "dispatch.h"

#include <atomic>
#include <cstring>

namespace jlstm {

#define JLSTM_DECLARE(set)              \
  namespace set {                       \
  extern const Kernels kernels_float;   \
  extern const Kernels kernels_double;  \
  constexpr Precisions both = {#set, &kernels_float, &kernels_double}; \
  }

#if defined(JLSTM_HAVE_AVX512)
JLSTM_DECLARE(avx512)
#endif
#if defined(JLSTM_HAVE_AVX2)
JLSTM_DECLARE(avx2)
#endif
#if defined(JLSTM_HAVE_NEON)
JLSTM_DECLARE(neon)
#endif
#if defined(JLSTM_HAVE_PORTABLE)
JLSTM_DECLARE(portable)
#endif

namespace {

std::atomic<const Precisions*>& current() {
  static std::atomic<const Precisions*> sets{[] {
    const Precisions* found[most_sets];
    available(found);
    return found[0];
  }()};
  return sets;
}

}  // namespace

int available(const Precisions* sets[most_sets]) {
  int count = 0;
#if defined(JLSTM_HAVE_AVX512)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    sets[count++] = &avx512::both;
#endif
#if defined(JLSTM_HAVE_AVX2)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    sets[count++] = &avx2::both;
#endif
#if defined(JLSTM_HAVE_NEON)
  sets[count++] = &neon::both;
#endif
#if defined(JLSTM_HAVE_PORTABLE)
  sets[count++] = &portable::both;
#endif
  return count;
}

const char* in_use() { return current().load(std::memory_order_relaxed)->name; }

const Kernels& kernels(bool is_double) {
  const Precisions* set = current().load(std::memory_order_relaxed);
  return is_double ? *set->of_double : *set->of_float;
}

bool choose(const char* name) {
  const Precisions* sets[most_sets];
  const int count = available(sets);
  for (int k = 0; k < count; ++k)
    if (std::strcmp(sets[k]->name, name) == 0) {
      current().store(sets[k]);
      return true;
    }
  return false;
}

}  // namespace jlstm
