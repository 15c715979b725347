#include "handlers.h"

#include "arguments.h"
#include "crew.h"
#include "dispatch.h"

namespace jlstm {
namespace {

constexpr const char* lstm_gates[] = {"i", "f", "g", "o"};
constexpr const char* gru_gates[] = {"r", "z", "n"};

// The static settings of a layer.
struct Settings {
  int64_t kind, state_activation, gate_activation, reverse;
};

bool take_settings(Buffers& buffers, const Settings& s, Layer& layer) {
  if (s.kind < 0 || s.kind > 2) return buffers.refuse("kind is not 0, 1 or 2");
  if (s.state_activation < 0 || s.state_activation > 2)
    return buffers.refuse("state_activation is not 0, 1 or 2");
  if (s.gate_activation < 0 || s.gate_activation > 1)
    return buffers.refuse("gate_activation is not 0 or 1");
  layer.kind = static_cast<Kind>(s.kind);
  layer.state = static_cast<StateFunction>(s.state_activation);
  layer.gate = static_cast<GateFunction>(s.gate_activation);
  layer.reverse = s.reverse != 0;
  return true;
}

// x, length, h0 and, of an LSTM, c0.
bool take_inputs(Buffers& buffers, Layer& layer) {
  if (!buffers.leading("x", 3)) return false;
  layer.batch = buffers.dimension(0);
  layer.steps = buffers.dimension(1);
  layer.inputs = buffers.dimension(2);
  layer.units = buffers.peek(2, 1);
  if (layer.units < 1) return buffers.refuse("h0 is not (batch, units)");
  layer.x = buffers.argument("x", {layer.batch, layer.steps, layer.inputs});
  layer.length = buffers.lengths("length", {layer.batch});
  layer.h0 = buffers.argument("h0", {layer.batch, layer.units});
  layer.c0 = layer.kind == Kind::lstm
                 ? buffers.argument("c0", {layer.batch, layer.units})
                 : nullptr;
  return true;
}

void take_weights(Buffers& buffers, Layer& layer) {
  const int gates = gate_counts[static_cast<int>(layer.kind)];
  const char* const* letters = layer.kind == Kind::lstm ? lstm_gates : gru_gates;
  const auto take = [&](const void** to, const char* name,
                        std::initializer_list<int64_t> shape) {
    for (int g = 0; g < gates; ++g)
      to[g] = buffers.argument((std::string(name) + letters[g]).c_str(), shape);
  };
  take(layer.input_weights, "W_", {layer.units, layer.inputs});
  take(layer.recurrent_weights, "R_", {layer.units, layer.units});
  take(layer.bias, "b_", {layer.units});
  if (layer.kind == Kind::gru_after)
    take(layer.recurrent_bias, "recurrent b_", {layer.units});
}

ffi::Error out_of_memory() {
  return ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for the kernel");
}

ffi::Error forward_call(ffi::ThreadPool pool, ffi::RemainingArgs arguments,
                        ffi::RemainingRets results, int64_t kind,
                        int64_t state_activation, int64_t gate_activation,
                        int64_t reverse, int64_t save, int64_t threads) {
  constexpr const char* call = "jlstm_forward";
  Buffers buffers(arguments, results);
  Forward problem{};
  Layer& layer = problem.layer;
  if (!take_settings(buffers, {kind, state_activation, gate_activation, reverse},
                     layer) ||
      !take_inputs(buffers, layer))
    return buffers.error(call);
  take_weights(buffers, layer);
  problem.y = buffers.result("ys", {layer.batch, layer.steps, layer.units});
  problem.h_last = buffers.result("hT", {layer.batch, layer.units});
  if (layer.kind == Kind::lstm)
    problem.c_last = buffers.result("cT", {layer.batch, layer.units});
  if (save) {
    const SavedShape s(layer.kind, layer.units, buffers.is_double());
    problem.saved = buffers.result(
        "saved", {layer.steps, s.groups, layer.batch, s.signals, s.group});
  }
  if (!buffers.complete()) return buffers.error(call);
  PoolCrew crew(pool, threads);
  if (!kernels(buffers.is_double()).forward(problem, crew)) return out_of_memory();
  return ffi::Error::Success();
}

ffi::Error backward_call(ffi::ThreadPool pool, ffi::RemainingArgs arguments,
                         ffi::RemainingRets results, int64_t kind,
                         int64_t state_activation, int64_t gate_activation,
                         int64_t reverse, int64_t need_dx, int64_t threads) {
  constexpr const char* call = "jlstm_backward";
  Buffers buffers(arguments, results);
  Backward problem{};
  Layer& layer = problem.layer;
  if (!take_settings(buffers, {kind, state_activation, gate_activation, reverse},
                     layer) ||
      !take_inputs(buffers, layer))
    return buffers.error(call);
  const bool lstm = layer.kind == Kind::lstm;
  const SavedShape s(layer.kind, layer.units, buffers.is_double());
  problem.y = buffers.argument("ys", {layer.batch, layer.steps, layer.units});
  problem.saved = buffers.argument(
      "saved", {layer.steps, s.groups, layer.batch, s.signals, s.group});
  problem.dy = buffers.argument("dys", {layer.batch, layer.steps, layer.units});
  problem.dh_last = buffers.argument("dhT", {layer.batch, layer.units});
  if (lstm) problem.dc_last = buffers.argument("dcT", {layer.batch, layer.units});
  take_weights(buffers, layer);
  problem.dx = buffers.result("dx", {layer.batch, layer.steps, layer.inputs});
  problem.need_dx = need_dx != 0;
  problem.dh0 = buffers.result("dh0", {layer.batch, layer.units});
  if (lstm) problem.dc0 = buffers.result("dc0", {layer.batch, layer.units});
  const int gates = gate_counts[static_cast<int>(layer.kind)];
  const auto give = [&](void** to, const char* name,
                        std::initializer_list<int64_t> shape) {
    for (int g = 0; g < gates; ++g) to[g] = buffers.result(name, shape);
  };
  give(problem.d_input_weights, "dW", {layer.units, layer.inputs});
  give(problem.d_recurrent_weights, "dR", {layer.units, layer.units});
  give(problem.d_bias, "db", {layer.units});
  if (layer.kind == Kind::gru_after)
    give(problem.d_recurrent_bias, "drb", {layer.units});
  if (!buffers.complete()) return buffers.error(call);
  PoolCrew crew(pool, threads);
  if (!kernels(buffers.is_double()).backward(problem, crew)) return out_of_memory();
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_Error* forward_handler(XLA_FFI_CallFrame* frame) {
  static const auto handler = ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .RemainingArgs()
                                  .RemainingRets()
                                  .Attr<int64_t>("kind")
                                  .Attr<int64_t>("state_activation")
                                  .Attr<int64_t>("gate_activation")
                                  .Attr<int64_t>("reverse")
                                  .Attr<int64_t>("save")
                                  .Attr<int64_t>("threads")
                                  .To(forward_call);
  return handler->Call(frame);
}

XLA_FFI_Error* backward_handler(XLA_FFI_CallFrame* frame) {
  static const auto handler = ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .RemainingArgs()
                                  .RemainingRets()
                                  .Attr<int64_t>("kind")
                                  .Attr<int64_t>("state_activation")
                                  .Attr<int64_t>("gate_activation")
                                  .Attr<int64_t>("reverse")
                                  .Attr<int64_t>("need_dx")
                                  .Attr<int64_t>("threads")
                                  .To(backward_call);
  return handler->Call(frame);
}

}  // namespace jlstm
