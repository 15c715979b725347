// What the kernels are asked to compute, and how each instruction set offers it.
//
// Plain data only: this header is seen by sources that are compiled for different
// processors, and an inline function compiled for the newest of them must not be the
// one that the linker keeps for all.
#pragma once

#include <cstdint>

namespace jlstm {

enum class Kind { lstm = 0, gru_after = 1, gru_before = 2 };
enum class StateFunction { tanh = 0, softsign = 1, relu = 2 };
enum class GateFunction { sigmoid = 0, hard_sigmoid = 1 };

constexpr int most_gates = 4;

// Units per group of the saved signals: 64 bytes, whatever the instruction set.
constexpr int64_t saved_bytes = 64;

// One recurrent layer in one direction over a batch. Arrays are row-major; gates come
// in the order i f g o, or r z n.
struct Layer {
  Kind kind;
  StateFunction state;
  GateFunction gate;
  bool reverse;
  int64_t batch, steps, inputs, units;
  const void* x;          // (batch, steps, inputs)
  const int32_t* length;  // (batch,)
  const void* h0;         // (batch, units)
  const void* c0;         // (batch, units), LSTM
  const void* input_weights[most_gates];      // (units, inputs)
  const void* recurrent_weights[most_gates];  // (units, units)
  const void* bias[most_gates];               // (units,)
  const void* recurrent_bias[most_gates];     // (units,), GRU reset after
};

struct Forward {
  Layer layer;
  void* y;        // (batch, steps, units)
  void* h_last;   // (batch, units)
  void* c_last;   // (batch, units), LSTM
  void* saved;    // see saved_signals; null where nothing is to be saved
};

struct Backward {
  Layer layer;
  const void* y;
  const void* saved;
  const void* dy;
  const void* dh_last;
  const void* dc_last;
  void* dx;
  bool need_dx;  // else dx is zero
  void* dh0;
  void* dc0;
  void* d_input_weights[most_gates];
  void* d_recurrent_weights[most_gates];
  void* d_bias[most_gates];
  void* d_recurrent_bias[most_gates];
};

// Signals saved per unit and step: i f g o c; r z n and the candidate's recurrent
// product; r z n.
constexpr int saved_signals[] = {5, 4, 3};
constexpr int gate_counts[] = {4, 3, 3};

// The buffer of saved signals: (steps, groups, batch, signals, group), where a group is
// 64 bytes of neighbouring units; what lies beyond the last unit is undefined. Gradients
// read only what the same build wrote, by whatever instruction set.
struct SavedShape {
  int64_t groups, signals, group;

  __attribute__((always_inline)) SavedShape(Kind kind, int64_t units, bool is_double)
      : signals(saved_signals[static_cast<int>(kind)]),
        group(is_double ? saved_bytes / 8 : saved_bytes / 4) {
    groups = (units + group - 1) / group;
  }
};

// Threads that run one function together. All of them are running when it starts, so
// they may wait for each other.
class Crew {
 public:
  using Body = void (*)(void* context, int rank, int size);
  virtual int most() const = 0;
  // Calls body(context, rank, size) on at most `wanted` threads, this one included.
  // Threads that have not come after `patience` nanoseconds are done without.
  virtual void run(int wanted, int64_t patience, Body body, void* context) = 0;

 protected:
  ~Crew() = default;
};

// Memory of the calling thread, 64-byte aligned, kept from call to call; valid until
// the thread's next call. Null where there is none.
void* arena(int64_t bytes);

// Asks for large pages under a result that nobody has touched yet: a fresh mapping of
// many megabytes otherwise costs more than the layer, page by page.
void expect_large(void* memory, int64_t bytes);

// Whether threads have lately waited long for each other, so that other programs must be
// using the processors: then a thread that waits at every step is slower than none.
bool crowded();
int64_t nanoseconds();  // of a clock that only goes forward
void tell_crowded();

// How many processors this process may use.
int processors();

// The processor that the calling thread is on, -1 where that cannot be told; and moving
// to another one, where there is one that it may use. The system leaves two threads on
// one processor for many milliseconds when both start while the other one is in use.
int processor();
void leave_processor();

// One time step of a network: see program.h.
struct Operation;

// What an instruction set offers in one precision.
struct Kernels {
  const char* name;
  // False: no memory.
  bool (*forward)(const Forward&, Crew&);
  bool (*backward)(const Backward&, Crew&);
  // A network's time step, see program.h: numbers that an operation's packed weights
  // and its scratch take; packing them; a step, and at most `most_steps` of them over
  // rows `stride` numbers apart.
  int64_t (*packed_size)(const Operation&);
  int64_t (*room_size)(const Operation&);
  void (*pack)(const Operation&, void* to);
  void (*step)(const Operation* operations, int64_t count, void* values, void* state);
  void (*run)(const Operation* operations, int64_t count, void* rows, int64_t stride,
              int64_t steps, void* state);
};

}  // namespace jlstm
