// Exponentials, and the activations made of them.
//
// exp(y) - 1 is computed as 2^n (p + 1) - 1 with p = exp(r) - 1, y = n ln 2 + r, where
// |r| <= ln(2) / 2 and p is a polynomial fitted in the sense of Chebyshev to relative
// errors. Quotients with the same fate share one division: on x86 it costs as much as
// a dozen multiplications.
#pragma once

#include "problem.h"
#include "vector.h"

namespace jlstm::JLSTM_SET {

template <class T>
struct Exponential;

template <>
struct Exponential<float> {
  static constexpr float log2e = 1.44269504088896341f;
  static constexpr float ln2_high = 0.693359375f;
  static constexpr float ln2_low = -2.12194440054690583e-4f;
  static constexpr float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds
  static constexpr int mantissa = 23;
  static constexpr int32_t one = 0x3f800000;
  static constexpr float series[] = {0.4999999814f, 0.1666654317f, 0.04166720193f,
                                     0.008366580894f, 0.001388249997f};
  static constexpr float largest = 88.0f;    // of exp's argument
  static constexpr float most_gate = 30.0f;  // three of them multiplied stay finite
  static constexpr float most_state = 20.0f;  // of twice tanh's argument
};

template <>
struct Exponential<double> {
  static constexpr double log2e = 1.4426950408889634074;
  static constexpr double ln2_high = 0.693147180369123816490;
  static constexpr double ln2_low = 1.90821492927058770002e-10;
  static constexpr double magic = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr int mantissa = 52;
  static constexpr int64_t one = 0x3ff0000000000000;
  static constexpr double series[] = {
      0.50000000000000053524,   0.16666666666666596424,   0.041666666666575145305,
      0.0083333333333847110447, 0.0013888888932028792844, 0.00019841269730040447568,
      2.4801504752563719594e-5, 2.7557397205121374841e-6, 2.7626237439691840605e-7,
      2.5057198470273006599e-8};
  static constexpr double largest = 708.0;
  static constexpr double most_gate = 300.0;
  static constexpr double most_state = 40.0;
};

// exp(y) - 1 for |y| <= largest.
template <class T>
JLSTM_INLINE Vector<T> exp_minus_one(Vector<T> y) {
  using E = Exponential<T>;
  constexpr int count = sizeof(E::series) / sizeof(T);
  const Vector<T> shifted = y * E::log2e + E::magic;
  const Vector<T> n = shifted - E::magic;
  const Vector<T> r = (y - n * E::ln2_high) - n * E::ln2_low;
  Vector<T> q = all<T>(E::series[count - 1]);
  unrolled<1, count>([&](auto k) JLSTM_LAMBDA {
    q = q * r + E::series[count - 1 - decltype(k)::value];
  });
  const Vector<T> p = (r * r) * q + r;
  const Bits<T> exponent = ((Bits<T>)shifted << E::mantissa) + E::one;
  const Vector<T> scale = (Vector<T>)exponent;
  return scale * p + (scale - T(1));
}

template <class T>
JLSTM_INLINE Vector<T> bounded(Vector<T> v, T bound) {
  return at_most<T>(at_least<T>(v, all<T>(-bound)), all<T>(bound));
}

// exp(-v) + 1, the denominator of the logistic function.
template <class T>
JLSTM_INLINE Vector<T> logistic_denominator(Vector<T> v) {
  return exp_minus_one<T>(-bounded<T>(v, Exponential<T>::most_gate)) + T(2);
}

// exp(-2 v) - 1: tanh(v) = -e / (e + 2), exact to rounding near zero too.
template <class T>
JLSTM_INLINE Vector<T> tanh_exponential(Vector<T> v) {
  return exp_minus_one<T>(bounded<T>(v * T(-2), Exponential<T>::most_state));
}

template <class T>
JLSTM_INLINE Vector<T> exponential(Vector<T> v) {
  return exp_minus_one<T>(bounded<T>(v, Exponential<T>::largest)) + T(1);
}

template <class T>
JLSTM_INLINE Vector<T> sigmoid(Vector<T> v) {
  return T(1) / logistic_denominator<T>(v);
}

template <class T>
JLSTM_INLINE Vector<T> tanh(Vector<T> v) {
  const Vector<T> e = tanh_exponential<T>(v);
  return -e / (e + T(2));
}

template <class T>
JLSTM_INLINE Vector<T> hard_sigmoid(Vector<T> v) {
  const Vector<T> line = v * T(0.2) + T(0.5);
  return at_most<T>(at_least<T>(line, all<T>(0)), all<T>(1));
}

template <class T>
JLSTM_INLINE Vector<T> softsign(Vector<T> v) {
  // Where |v| overflows nothing: v / (1 + |v|) of infinity is not a number.
  constexpr T bound = sizeof(T) == 4 ? T(1e38) : T(1e300);
  const Vector<T> b = bounded<T>(v, bound);
  return b / (magnitude<T>(b) + T(1));
}

template <class T>
JLSTM_INLINE Vector<T> relu(Vector<T> v) {
  return at_least<T>(v, all<T>(0));
}

// The usual pair, tanh and sigmoid.
template <class T>
struct Usual {
  using V = Vector<T>;

  explicit Usual(const Layer&) {}

  JLSTM_INLINE V state(V v) const { return tanh<T>(v); }

  // i, f and g of an LSTM.
  JLSTM_INLINE void three(V& i, V& f, V& g) const {
    const V a = logistic_denominator<T>(i), b = logistic_denominator<T>(f);
    const V e = tanh_exponential<T>(g);
    const V d = e + T(2), ab = a * b;
    const V inverse = T(1) / (ab * d);
    const V inverse_d = inverse * d;
    i = inverse_d * b;
    f = inverse_d * a;
    g = -(e * (inverse * ab));
  }

  // o of an LSTM, and state(c).
  JLSTM_INLINE void two(V& o, V& c) const {
    const V a = logistic_denominator<T>(o);
    const V e = tanh_exponential<T>(c);
    const V d = e + T(2);
    const V inverse = T(1) / (a * d);
    o = inverse * d;
    c = -(e * (inverse * a));
  }

  // r and z of a GRU.
  JLSTM_INLINE void gates(V& r, V& z) const {
    const V a = logistic_denominator<T>(r), b = logistic_denominator<T>(z);
    const V inverse = T(1) / (a * b);
    r = inverse * b;
    z = inverse * a;
  }

  // Derivatives, from the values.
  JLSTM_INLINE V gate_slope(V s) const { return s - s * s; }
  JLSTM_INLINE V state_slope(V s) const { return T(1) - s * s; }
};

// Any pair; the branches are the same at every step and cost next to nothing.
template <class T>
struct Chosen {
  using V = Vector<T>;

  StateFunction state_function;
  GateFunction gate_function;

  explicit Chosen(const Layer& layer)
      : state_function(layer.state), gate_function(layer.gate) {}

  JLSTM_INLINE V state(V v) const {
    if (state_function == StateFunction::softsign) return softsign<T>(v);
    if (state_function == StateFunction::relu) return relu<T>(v);
    return tanh<T>(v);
  }
  JLSTM_INLINE V gate(V v) const {
    if (gate_function == GateFunction::hard_sigmoid) return hard_sigmoid<T>(v);
    return sigmoid<T>(v);
  }
  JLSTM_INLINE void three(V& i, V& f, V& g) const {
    i = gate(i);
    f = gate(f);
    g = state(g);
  }
  JLSTM_INLINE void two(V& o, V& c) const {
    o = gate(o);
    c = state(c);
  }
  JLSTM_INLINE void gates(V& r, V& z) const {
    r = gate(r);
    z = gate(z);
  }
  JLSTM_INLINE V gate_slope(V s) const {
    if (gate_function == GateFunction::hard_sigmoid) {
      const V slope = all<T>(T(0.2)), none{};
      return s > T(0) ? (s < T(1) ? slope : none) : none;
    }
    return s - s * s;
  }
  JLSTM_INLINE V state_slope(V s) const {
    const V one = all<T>(1), none{};
    if (state_function == StateFunction::relu) return s > T(0) ? one : none;
    if (state_function == StateFunction::softsign) {
      const V rest = one - magnitude<T>(s);
      return rest * rest;
    }
    return one - s * s;
  }
};

// f(functions): the usual pair as a case of its own, which is the fast one.
template <class T, class F>
JLSTM_INLINE void with_functions(const Layer& layer, F&& f) {
  if (layer.state == StateFunction::tanh && layer.gate == GateFunction::sigmoid)
    f(Usual<T>(layer));
  else
    f(Chosen<T>(layer));
}

}  // namespace jlstm::JLSTM_SET
