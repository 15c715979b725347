// The buffers of a call, taken in order; each must have the type and shape that is
// expected, or the call is refused in words.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "problem.h"
#include "xla/ffi/api/ffi.h"

namespace jlstm {

namespace ffi = xla::ffi;

class Buffers {
 public:
  Buffers(ffi::RemainingArgs arguments, ffi::RemainingRets results)
      : arguments_(arguments), results_(results) {}

  // The first argument, which decides on precision and sizes.
  bool leading(const char* name, size_t rank) {
    auto buffer = arguments_.get<ffi::AnyBuffer>(0);
    if (!buffer.has_value()) return refuse(std::string(name) + " is missing");
    type_ = buffer->element_type();
    if (type_ != ffi::F32 && type_ != ffi::F64)
      return refuse(std::string(name) + " is neither float32 nor float64");
    const auto dimensions = buffer->dimensions();
    if (dimensions.size() != rank)
      return refuse(std::string(name) + " has rank " +
                    std::to_string(dimensions.size()) + ", expected " +
                    std::to_string(rank));
    dimensions_.assign(dimensions.begin(), dimensions.end());
    return true;
  }

  // An argument whose dimension decides on a size, without taking it.
  int64_t peek(size_t argument, size_t dimension) {
    auto buffer = arguments_.get<ffi::AnyBuffer>(argument);
    if (!buffer.has_value() || buffer->dimensions().size() <= dimension) return -1;
    return buffer->dimensions()[dimension];
  }

  bool is_double() const { return type_ == ffi::F64; }
  int64_t dimension(size_t k) const { return dimensions_[k]; }

  const void* argument(const char* name, std::initializer_list<int64_t> shape) {
    return argument_of(name, shape, type_);
  }

  const int32_t* lengths(const char* name, std::initializer_list<int64_t> shape) {
    return static_cast<const int32_t*>(argument_of(name, shape, ffi::S32));
  }

  void* result(const char* name, std::initializer_list<int64_t> shape) {
    auto buffer = results_.get<ffi::AnyBuffer>(result_++);
    if (!buffer.has_value()) {
      refuse("the result " + std::string(name) + " is missing");
      return nullptr;
    }
    if (!check(name, **buffer, shape, type_)) return nullptr;
    expect_large((*buffer)->untyped_data(),
                 static_cast<int64_t>((*buffer)->size_bytes()));
    return (*buffer)->untyped_data();
  }

  // True if everything was right and nothing is left over.
  bool complete() {
    if (argument_ != arguments_.size())
      refuse(std::to_string(arguments_.size()) + " arguments, expected " +
             std::to_string(argument_));
    if (result_ != results_.size())
      refuse(std::to_string(results_.size()) + " results, expected " +
             std::to_string(result_));
    return refusal_.empty();
  }

  bool refuse(const std::string& why) {
    if (refusal_.empty()) refusal_ = why;
    return false;
  }

  ffi::Error error(const char* call) const {
    return ffi::Error::InvalidArgument(std::string(call) + ": " + refusal_);
  }

 private:
  const void* argument_of(const char* name, std::initializer_list<int64_t> shape,
                          ffi::DataType type) {
    auto buffer = arguments_.get<ffi::AnyBuffer>(argument_++);
    if (!buffer.has_value()) {
      refuse(std::string(name) + " is missing");
      return nullptr;
    }
    return check(name, *buffer, shape, type) ? buffer->untyped_data() : nullptr;
  }

  bool check(const char* name, const ffi::AnyBuffer& buffer,
             std::initializer_list<int64_t> shape, ffi::DataType type) {
    if (buffer.element_type() != type)
      return refuse(std::string(name) + " is not " + word(type));
    const auto found = buffer.dimensions();
    bool same = found.size() == shape.size();
    for (size_t k = 0; same && k < found.size(); ++k)
      same = found[k] == shape.begin()[k];
    if (same) return true;
    return refuse(std::string(name) + " has shape " + text(found.begin(), found.end()) +
                  ", expected " + text(shape.begin(), shape.end()));
  }

  static const char* word(ffi::DataType type) {
    return type == ffi::F32 ? "float32" : type == ffi::F64 ? "float64" : "int32";
  }

  template <class I>
  static std::string text(I from, I to) {
    std::string words = "(";
    for (I k = from; k != to; ++k)
      words += (k == from ? "" : ", ") + std::to_string(*k);
    return words + ")";
  }

  ffi::RemainingArgs arguments_;
  ffi::RemainingRets results_;
  size_t argument_ = 0, result_ = 0;
  ffi::DataType type_ = ffi::F32;
  std::vector<int64_t> dimensions_;
  std::string refusal_;
};

}  // namespace jlstm
