"""scipy.special: every ufunc with a rule, in each argument that has a derivative; and the Python functions."""

import importlib.util

import numpy as np

from . import Form, cplx, inside, positive, real

FORMS = []

if importlib.util.find_spec("scipy"):
    from scipy import special as plain

    from retape.runtime.scipy import special

    X = np.array([0.3, 0.7, 1.1, 1.9])
    U = np.array([0.15, 0.4, 0.62, 0.9])
    M = np.array([-2.0, 0.2, 0.5, 0.9])
    R = np.array([-1.7, -0.4, 0.6, 2.3])
    Z = np.array([0.5 + 0.3j, 1.2 - 0.8j, 2.1 + 1.4j])
    P = np.array([[0.6, 1.3], [2.2, 0.9]])

    def add(name, *args, text="", order=2, tolerance=1e-6, float32=True, f=None, closed=None):
        function = f or getattr(plain, name)
        text = text or f"{len(args)} arguments of {', '.join(str(np.result_type(a)) for a in args)}"
        FORMS.append(Form(f"scipy.special.{name}", text, function, args, order, tolerance, closed, float32))

    def fixed(name, *orders, x=X, text="", **keywords):
        function = getattr(plain, name)
        text = text or f"at {orders} of {np.result_type(x)}"
        add(name, x, f=lambda x: function(*orders, x), text=text, **keywords)

    # Error functions
    for name in ("erf", "erfc", "erfi", "erfcx", "dawsn", "ndtr", "log_ndtr"):
        add(name, R)
        add(name, R.reshape(2, 2).T, text="columns first")
    for name in ("erf", "erfc", "erfi", "erfcx", "dawsn", "ndtr", "log_ndtr", "wofz"):
        add(name, Z)
    add("erf", np.array(0.4), text="a scalar", closed=lambda x: 2 / np.sqrt(np.pi) * np.exp(-x * x))
    add("erfcx", np.array([40.0, 300.0]), text="far to the right")
    add("dawsn", np.array([-40.0, 35.0, 300.0]), text="far out")
    add("log_ndtr", np.array([-300.0, -30.0, 9.0]), text="far to both sides")
    add("erfinv", inside(4))
    add("erfcinv", U + 0.3)
    add("ndtri", U)
    add("ndtri_exp", -X)
    add("voigt_profile", R, X, X + 0.2)
    add("owens_t", R, X)
    add("fresnel", X)
    add("fresnel", Z)
    # Gamma and beta
    for name in ("gamma", "gammaln", "rgamma", "psi"):
        add(name, np.array([-1.6, -0.3, 0.8, 3.4]))
    for name in ("gamma", "rgamma", "psi", "loggamma"):
        add(name, np.array([0.5 + 0.3j, -1.2 - 0.8j, 2.1 + 1.4j]))
    add("loggamma", X)
    add("rgamma", np.array([0.0, -1.0, -3.0]), text="at the poles of gamma", closed=lambda x: np.array([1.0, -1.0, -6.0]))
    add("gammaln", P[:, ::-1], text="a reversed view")
    for name in ("beta", "betaln"):
        add(name, X, X[::-1] + 0.3)
        add(name, P, np.array([0.4, 1.7]), text="broadcast")
    add("binom", X + 3, X)
    add("poch", X, X + 1)
    for name in ("gammainc", "gammaincc"):
        fixed(name, 1.3)
        fixed(name, np.array([0.4, 1.0, 2.0, 3.0]), text="an array of parameters", float32=False)
    for name in ("gammaincinv", "gammainccinv"):
        fixed(name, 1.3, x=U)
    for name in ("betainc", "betaincc", "betaincinv", "betainccinv"):
        fixed(name, 1.3, 2.4, x=U)
    fixed("zeta", 2.5)
    add("zeta", X, f=lambda x: plain.zeta(3.0, x), text="Hurwitz")
    # Bessel and relatives
    for name in ("j0", "j1", "y0", "y1", "i0", "i1", "i0e", "i1e", "k0", "k1", "k0e", "k1e"):
        add(name, X)
    for name in ("j0", "j1", "i0", "i1", "i0e", "i1e"):
        add(name, R, text="of both signs")
    for name in ("jv", "yv", "iv", "kv", "jve", "yve", "ive", "kve", "hankel1", "hankel2", "hankel1e", "hankel2e"):
        fixed(name, 1.5)
        fixed(name, 2)
        fixed(name, 1.5, x=Z)
        fixed(name, 2, x=Z)
        fixed(name, np.array([0.0, 1.0, 2.0, 0.5]), text="an array of orders", float32=False)
    for name in ("jve", "ive"):
        fixed(name, 2, x=R, text="of both signs")
        fixed(name, 1.5, x=np.conj(Z), text="below the real axis")
    for name in ("kn", "yn"):
        fixed(name, 2)
    for name in ("ber", "bei", "ker", "kei", "berp", "beip", "kerp", "keip"):
        add(name, X)
    for name in ("airy", "itj0y0", "iti0k0", "it2j0y0", "it2i0k0", "itairy"):
        add(name, X, tolerance=1e-5, float32=False)
    add("airy", Z)
    for name in ("struve", "modstruve"):
        fixed(name, 1.0)
    for name in ("itstruve0", "it2struve0", "itmodstruve0"):
        add(name, X, float32=False)
    # Elliptic
    add("ellipk", M)
    add("ellipk", np.array([0.0]), text="at 0", closed=lambda m: np.array([np.pi / 8]))
    add("ellipkm1", U)
    add("ellipe", M)
    add("ellipkinc", np.array([-2.0, 0.7, 1.2, 5.0]), np.array([-2.0, 0.2, 0.5, 0.9]))
    add("ellipeinc", np.array([-2.0, 0.7, 1.2, 5.0]), np.array([-2.0, 0.2, 0.5, 0.9]))
    for name in ("elliprf", "elliprd"):
        add(name, X, X + 0.4, 2.5 - X)
    add("elliprf", Z, Z + 0.4, 2.5 + Z)
    add("elliprc", X, X + 0.4)
    add("agm", X, X[::-1] + 0.2)
    # Hypergeometric functions and polynomials
    fixed("hyp0f1", 1.3)
    fixed("hyp1f1", 0.4, 1.3)
    fixed("hyperu", 0.4, 1.3)
    fixed("hyp2f1", 0.4, 1.3, 2.1, x=U)
    fixed("hyp2f1", 0.4, 1.3, 2.1, x=Z / 4)
    polynomials = [(n, ()) for n in ("legendre", "sh_legendre", "chebyt", "chebyu", "chebyc", "chebys", "sh_chebyt")]
    polynomials += [(n, ()) for n in ("sh_chebyu", "hermite", "hermitenorm", "laguerre")]
    polynomials += [("gegenbauer", (0.7,)), ("genlaguerre", (0.7,)), ("jacobi", (0.7, 1.2))]
    for name, parameters in polynomials:
        for degree in (0, 1, 4):
            fixed(f"eval_{name}", degree, *parameters, x=U, float32=False)
        fixed(f"eval_{name}", np.array([3, 0, 2, 5]), *parameters, x=U, text="an array of degrees", float32=False)
    fixed("eval_legendre", 2.5, x=U)
    # Logistic, entropies, transforms
    for name in (
        "expit",
        "log_expit",
        "exprel",
        "cosm1",
        "sindg",
        "cosdg",
        "tandg",
        "cotdg",
        "exp10",
        "exp2",
        "expm1",
        "cbrt",
    ):
        add(name, R)
    add("log1p", X)
    for name in ("log1p", "expm1"):
        add(name, Z)
    add("exprel", np.array([-1e-3, 0.0, 1e-3, 0.29, 0.31]), text="near 0")
    add("logit", U)
    for name in ("xlogy", "xlog1py"):
        add(name, R, X)
        add(name, Z, Z + 1)
    add("entr", X)
    for name in ("rel_entr", "kl_div"):
        add(name, X, X[::-1] + 0.1)
    add("huber", np.full(4, 1.0), R)
    add("pseudo_huber", X, R)
    for name in ("boxcox", "boxcox1p", "inv_boxcox", "inv_boxcox1p"):
        add(name, X, np.array([0.5, -0.2, 0.001, 1.3]))
    add("boxcox", X, np.zeros(4), text="the logarithm")
    add("inv_boxcox", X, np.zeros(4), text="the exponential")
    add("powm1", X + 0.2, R)
    add("radian", X, X, X)
    add("round", X)
    # Integrals
    for name in ("expi", "exp1", "spence", "wrightomega"):
        add(name, X)
        add(name, Z)
    add("spence", np.array([0.9, 1.0, 1.1]), text="around 1")
    fixed("expn", 0, float32=False)
    fixed("expn", 1, float32=False)
    fixed("expn", 3, float32=False)
    for name in ("sici", "shichi"):
        add(name, X)
        add(name, Z)
    add("lambertw", X)
    add("lambertw", Z)
    fixed_lambert = plain.lambertw
    add("lambertw", -U / 3, f=lambda x: fixed_lambert(x, -1), text="the other branch")
    # Distributions
    for name, shapes in (
        ("pdtr", (2.0,)),
        ("pdtrc", (2.0,)),
        ("bdtr", (2.0, 6)),
        ("bdtrc", (2.0, 6)),
        ("nbdtr", (2.0, 6)),
    ):
        fixed(name, *shapes, x=U, float32=not name.startswith("bdtr"))
    for name, shapes in (("nbdtrc", (2.0, 6)), ("chdtr", (3.0,)), ("chdtrc", (3.0,)), ("fdtr", (3.0, 5.0))):
        fixed(name, *shapes, x=U, float32=not name.startswith("bdtr"))
    for name, shapes in (
        ("fdtrc", (3.0, 5.0)),
        ("stdtr", (3.0,)),
        ("chdtri", (3.0,)),
        ("pdtri", (2.0,)),
        ("bdtri", (2.0, 6)),
    ):
        fixed(name, *shapes, x=U, float32=not name.startswith("bdtr"))
    for name, shapes in (("nbdtri", (2.0, 6)), ("fdtri", (3.0, 5.0)), ("stdtrit", (3.0,))):
        fixed(name, *shapes, x=U, float32=not name.startswith("bdtr"))
    for name in ("gdtr", "gdtrc"):
        function = getattr(plain, name)
        add(name, X, X, f=lambda a, x, function=function: function(a, 1.4, x))
    add("gdtrix", X, U, f=lambda a, p: plain.gdtrix(a, 1.4, p))
    add("nrdtrimn", U, X, R)

    # Functions of SciPy written in Python
    def offered(name, text, f, *args, **keywords):
        add(name, *args, f=f, text=text, **keywords)

    A = real(3, 4)
    offered("logsumexp", "everything", lambda x: special.logsumexp(x), A)
    offered("logsumexp", "one axis", lambda x: special.logsumexp(x, axis=-1), A)
    offered("logsumexp", "keepdims", lambda x: special.logsumexp(x, 0, keepdims=True), A)
    offered("logsumexp", "two axes", lambda x: special.logsumexp(x, axis=(0, 2)), real(2, 3, 2))
    offered("logsumexp", "weights", lambda x, b: special.logsumexp(x, 1, b=b), A, positive(4))
    offered("logsumexp", "signs", lambda x, b: special.logsumexp(x, 1, b=b, return_sign=True), A, real(3, 4, seed=3))
    offered("logsumexp", "a zero weight", lambda x: special.logsumexp(x, b=np.array([0.0, 1.0, 2.0, 0.5])), A, float32=False)
    offered("logsumexp", "complex", lambda x: special.logsumexp(x, 1), cplx(3, 4))
    for name in ("softmax", "log_softmax"):
        function = getattr(special, name)
        offered(name, "everything", lambda x, function=function: function(x), A)
        offered(name, "one axis", lambda x, function=function: function(x, axis=-2), A)
        offered(name, "two axes", lambda x, function=function: function(x, axis=(0, -1)), real(2, 3, 2))
    for n in (0, 1, 3):
        offered("polygamma", f"order {n}", lambda x, n=n: special.polygamma(n, x), X, float32=False)
    offered("polygamma", "an array of orders", lambda x: special.polygamma(np.arange(4), x), X, float32=False)
    offered("multigammaln", "dimension 3", lambda x: special.multigammaln(x, 3), X + 1)
    offered("comb", "real numbers", lambda n, k: special.comb(n, k), X + 3, X)
    offered("perm", "real numbers", lambda n, k: special.perm(n, k), X + 3, X)
    offered("factorial", "real numbers", lambda n: special.factorial(n), X)
    if hasattr(plain, "softplus"):
        offered("softplus", "both signs", lambda x: special.softplus(x), R)
    for name in ("jvp", "yvp", "ivp", "kvp", "h1vp", "h2vp"):
        function = getattr(special, name)
        offered(name, "second", lambda x, function=function: function(1.5, x, 2), X, float32=False)
    for name in ("spherical_jn", "spherical_yn", "spherical_in", "spherical_kn"):
        function = getattr(special, name)
        offered(name, "both signs", lambda x, function=function: function(2, x), R, float32=False)
        offered(name, "its derivative", lambda x, function=function: function(2, x, derivative=True), R, float32=False)
        offered(name, "complex", lambda x, function=function: function(2, x), Z, float32=False)
