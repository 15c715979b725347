/* Exponential functions in double precision: those of math.h. */

/*: exp_of <math.h> */
static inline double exp_of(const double x)
{
    return exp(x);
}

/*: expm1_of <math.h> */
static inline double expm1_of(const double x)
{
    return expm1(x);
}

/*: sigmoid_of */
static inline double sigmoid_of(const double x)
{
    const double e = exp_of(x < 0.0 ? x : -x);
    return (x < 0.0 ? e : 1.0) / (1.0 + e);
}

/*: tanh_of <math.h> */
static inline double tanh_of(const double x)
{
    return tanh(x);
}

/*: log_of <math.h> */
static inline double log_of(const double x)
{
    return log(x);
}

/*: log1p_of <math.h> */
static inline double log1p_of(const double x)
{
    return log1p(x);
}

/*: erf_of <math.h> */
static inline double erf_of(const double x)
{
    return erf(x);
}

/*: erfc_of <math.h> */
static inline double erfc_of(const double x)
{
    return erfc(x);
}

/*: sqrt_of <math.h> */
static inline double sqrt_of(const double x)
{
    return sqrt(x);
}
