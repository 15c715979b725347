// The kernels as XLA's FFI calls them.
#pragma once

#include "xla/ffi/api/c_api.h"

namespace jlstm {

XLA_FFI_Error* forward_handler(XLA_FFI_CallFrame* frame);
XLA_FFI_Error* backward_handler(XLA_FFI_CallFrame* frame);

}  // namespace jlstm
