// A network's operations with all that they need to run: packed weights, scratch, rows.
#pragma once

#include <cstdlib>
#include <mutex>
#include <vector>

#include "program.h"

namespace jlstm {

// Operations that follow each other, run by one thread.
struct Stage {
  int64_t first, count;
};

class Program {
 public:
  bool is_double = false;
  int64_t inputs = 0, outputs = 0, output_at = 0, states = 0;
  const Kernels* kernels = nullptr;
  std::vector<Operation> operations;
  std::mutex mutex;  // rows and scratch serve one caller at a time

  Program() = default;
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() { std::free(memory_); }

  // Once, before all steps. False: no memory.
  bool pack(int64_t row_size);

  void step(const void* x, void* state, void* y);
  void run(const char* x, void* state, char* y, int64_t steps);

 private:
  struct Signal {  // of a sequence, and how many spans of it stages have finished
    const char* x;
    void* state;
    char* y;
    int64_t steps;
    int64_t* finished;
  };

  size_t bytes(int64_t numbers) const {
    return static_cast<size_t>(numbers) * (is_double ? 8 : 4);
  }
  int64_t all() const { return static_cast<int64_t>(operations.size()); }
  bool worth_threads(int64_t steps) const;
  bool in_stages(const Signal& signal);
  void work(const Signal& signal, size_t stage);
  void span(const Signal& signal, int64_t number, const Stage& stage);

  int64_t work_ = 0;     // multiplications of a step
  std::vector<Stage> stages_;
  int64_t slots_ = 1;    // spans that have rows at the same time
  int64_t stride_ = 0;   // numbers from row to row
  char* memory_ = nullptr;
  char* rows_ = nullptr;  // of spans of steps; a step has the first alone
};

}  // namespace jlstm
