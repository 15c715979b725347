/* Exponential functions in single precision, without branches, so that compilers turn
   loops over them into vector instructions. Largest errors over all floats, in units in
   the last place: exp_of 1.0, expm1_of 1.7, tanh_of 1.4, sigmoid_of 1.8. NaN gives NaN.
   The series of tanh_of: Moshier, Cephes, tanhf (https://www.netlib.org/cephes/). */

/*: bits */
typedef union {
    float f;
    uint32_t u;
} bits;

#define SIGN 0x80000000u
#define INFINITE 0x7f800000u

/*: pick */
/* a where `which` is 1, b where it is 0. */
static inline uint32_t pick(const uint32_t which, const uint32_t a, const uint32_t b)
{
    return b ^ ((a ^ b) & (0u - which));
}

/*: power_of_2 */
static inline float power_of_2(const int32_t k)
{
    bits b;
    b.u = (uint32_t)(k + 127) << 23;
    return b.f;
}

/*: remainder_of */
/* x - k ln 2, with ln 2 in two parts, of which the first times k is exact. */
static inline float remainder_of(const float x, const int32_t k)
{
    const float n = (float)k;
    return (x - n * 0x1.63p-1f) - n * -0x1.bd0106p-13f;
}

/*: series_of */
/* exp(r) - 1 for |r| <= ln(2) / 2: a minimax polynomial. */
static inline float series_of(const float r)
{
    float q = 0x1.a1a2aep-13f;
    q = q * r + 0x1.6d7598p-10f;
    q = q * r + 0x1.11108ep-7f;
    q = q * r + 0x1.5554acp-5f;
    q = q * r + 0x1.555556p-3f;
    q = q * r + 0x1p-1f;
    return r + r * r * q;
}

/*: exp_of */
static inline float exp_of(const float x)
{
    bits a, b, half;
    uint32_t sign, size;
    int32_t k;
    a.f = x;
    sign = a.u & SIGN;
    size = a.u ^ sign;
    b.u = (size < 0x42d00000u ? size : 0x42d00000u) | sign; /* within 104 of zero */
    half.u = 0x3f000000u | sign;
    k = (int32_t)(b.f * 0x1.715476p+0f + half.f);
    b.f = 1.0f + series_of(remainder_of(b.f, k));
    b.f = b.f * power_of_2(k / 2) * power_of_2(k - k / 2);
    b.u = pick((INFINITE - size) >> 31, a.u, b.u);
    return b.f;
}

/*: expm1_of */
/* exp(x) - 1 for x <= 0. */
static inline float expm1_of(const float x)
{
    bits a, b;
    uint32_t sign, size;
    int32_t k;
    float power;
    a.f = x;
    sign = a.u & SIGN;
    size = a.u ^ sign;
    b.u = (size < 0x41f00000u ? size : 0x41f00000u) | sign; /* not below -30 */
    k = (int32_t)(b.f * 0x1.715476p+0f - 0.5f);
    power = power_of_2(k);
    b.f = power * series_of(remainder_of(b.f, k)) + (power - 1.0f);
    b.u = pick((INFINITE - size) >> 31, a.u, b.u);
    return b.f;
}

/*: sigmoid_of */
static inline float sigmoid_of(const float x)
{
    bits a, b, e;
    uint32_t sign, size;
    int32_t k;
    a.f = x;
    sign = a.u & SIGN;
    size = a.u ^ sign;
    b.u = size < 0x42d00000u ? size : 0x42d00000u;
    k = (int32_t)(b.f * 0x1.715476p+0f + 0.5f);
    e.f = 1.0f + series_of(-remainder_of(b.f, k));
    e.f = e.f * power_of_2(-(k / 2)) * power_of_2(k / 2 - k); /* exp(-|x|) */
    b.u = pick(sign >> 31, e.u, 0x3f800000u);
    b.f = b.f - b.f * (e.f / (1.0f + e.f));
    b.u = pick((INFINITE - size) >> 31, a.u, b.u);
    return b.f;
}

/*: tanh_of */
static inline float tanh_of(const float x)
{
    bits a, b, near;
    uint32_t sign, size;
    int32_t k;
    float z;
    a.f = x;
    sign = a.u & SIGN;
    size = a.u ^ sign;
    near.u = size;
    z = x * x;
    z *= (((-5.70498872745e-3f * z + 2.06390887954e-2f) * z - 5.37397155531e-2f) * z
          + 1.33314422036e-1f) * z - 3.33332819422e-1f;
    near.f = near.f + near.f * z;
    b.u = size < 0x41200000u ? size : 0x41200000u; /* at most 10 */
    b.f += b.f;
    k = (int32_t)(b.f * 0x1.715476p+0f + 0.5f);
    b.f = (1.0f + series_of(remainder_of(b.f, k))) * power_of_2(k);
    b.f = 1.0f - 2.0f / (b.f + 1.0f);
    b.u = pick((size - 0x3f200000u) >> 31, near.u, b.u) | sign; /* below 0.625 */
    b.u = pick((INFINITE - size) >> 31, a.u, b.u);
    return b.f;
}

/*: log_of <math.h> */
static inline float log_of(const float x)
{
    return logf(x);
}

/*: log1p_of <math.h> */
static inline float log1p_of(const float x)
{
    return log1pf(x);
}

/*: erf_of <math.h> */
static inline float erf_of(const float x)
{
    return erff(x);
}

/*: erfc_of <math.h> */
static inline float erfc_of(const float x)
{
    return erfcf(x);
}

/*: sqrt_of <math.h> */
static inline float sqrt_of(const float x)
{
    return sqrtf(x);
}
