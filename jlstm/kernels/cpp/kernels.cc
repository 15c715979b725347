// The kernels of one instruction set in one precision: compiled once for each, with
// flags of its own.
#include "backward.h"
#include "forward.h"
#include "program_run.h"

#define JLSTM_TEXT_OF(name) #name
#define JLSTM_TEXT(name) JLSTM_TEXT_OF(name)

namespace jlstm::JLSTM_SET {

template <class T>
constexpr Kernels all_kernels = {
    JLSTM_TEXT(JLSTM_SET), forward<T>, backward<T>, packed_size<T>, room_size<T>,
    pack<T>, step<T>, run<T>,
};

// kernels_float and kernels_double, in the namespace of the set.
#define JLSTM_KERNELS_OF(real) kernels_##real
#define JLSTM_KERNELS(real) JLSTM_KERNELS_OF(real)
extern const Kernels JLSTM_KERNELS(JLSTM_REAL);
const Kernels JLSTM_KERNELS(JLSTM_REAL) = all_kernels<JLSTM_REAL>;

}  // namespace jlstm::JLSTM_SET
