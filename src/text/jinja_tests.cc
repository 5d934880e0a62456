// The tests of chat templates ("is defined" and its kin), after jinja2.tests.
#include <algorithm>
#include <cmath>

#include "text/jinja_interpreter.h"
#include "text/python_text.h"

namespace tutti::text::jinja {

namespace {

const bool* as_bool(const Value& value) { return value.get<bool>(); }
bool is_callable(const Value& value) {
  // Jinja's undefined value has a __call__ (that fails).
  return value.is_undefined() || value.get<Function>() != nullptr ||
         value.get<const Stmt*>() != nullptr ||
         value.get<std::shared_ptr<const Bound>>() != nullptr;
}
bool is_concrete_list(const Value& value) {
  return value.list() != nullptr && value.list()->kind != ListKind::kGenerator;
}

Value defined(Call& c) { return !c.self.is_undefined(); }
Value undefined(Call& c) { return c.self.is_undefined(); }
Value none(Call& c) { return c.self.is_none(); }
Value string(Call& c) { return c.self.str() != nullptr; }
Value mapping(Call& c) { return c.self.dict() != nullptr; }
Value iterable(Call& c) {
  return c.self.str() != nullptr || c.self.list() != nullptr || c.self.dict() != nullptr ||
         c.self.is_undefined();
}
Value sequence(Call& c) {
  return c.self.str() != nullptr || is_concrete_list(c.self) || c.self.dict() != nullptr ||
         c.self.is_undefined();
}
Value number(Call& c) { return c.self.is_number(); }
Value integer(Call& c) { return c.self.is_integer() && as_bool(c.self) == nullptr; }
Value real(Call& c) { return c.self.get<double>() != nullptr; }
Value boolean(Call& c) { return as_bool(c.self) != nullptr; }
Value is_true(Call& c) { return as_bool(c.self) != nullptr && *as_bool(c.self); }
Value is_false(Call& c) { return as_bool(c.self) != nullptr && !*as_bool(c.self); }
Value callable(Call& c) { return is_callable(c.self); }
Value lower(Call& c) { return python::all_of_class(c.in.str(c.self), python::CharClass::kLower); }
Value upper(Call& c) { return python::all_of_class(c.in.str(c.self), python::CharClass::kUpper); }
Value eq(Call& c) { return c.in.same(c.self, *c.arg(0)); }
Value ne(Call& c) { return !c.in.same(c.self, *c.arg(0)); }
Value lt(Call& c) { return c.in.less(c.self, *c.arg(0)); }
Value gt(Call& c) { return c.in.less(*c.arg(0), c.self); }
Value le(Call& c) { return c.in.less(c.self, *c.arg(0)) || c.in.same(c.self, *c.arg(0)); }
Value ge(Call& c) { return c.in.less(*c.arg(0), c.self) || c.in.same(c.self, *c.arg(0)); }
Value in(Call& c) { return c.in.contains(*c.arg(0), c.self); }
Value sameas(Call& c) {
  // Identity, as far as a template can tell: the same type and value.
  return c.self.type_name() == c.arg(0)->type_name() && c.in.same(c.self, *c.arg(0));
}
// self % divisor, for numbers of any kind.
Value remainder_is(Call& c, const Value& divisor, double rest) {
  const double d = divisor.to_double();
  if (!c.self.is_number() || !divisor.is_number() || d == 0) {
    return c.in.fail("a test of divisibility takes numbers, and no zero divisor");
  }
  if (c.self.is_integer() && divisor.is_integer()) {
    if (divisor.to_int() == -1) return rest == 0;
    return (c.self.to_int() % divisor.to_int() != 0) == (rest != 0);
  }
  return c.self.to_double() - d * std::floor(c.self.to_double() / d) == rest;
}
Value odd(Call& c) { return remainder_is(c, int64_t{2}, 1); }
Value even(Call& c) { return remainder_is(c, int64_t{2}, 0); }
Value divisibleby(Call& c) { return remainder_is(c, *c.arg(0), 0); }
Value filter(Call& c) {
  return c.self.str() != nullptr && find_filter(c.self.str()->view) != nullptr;
}
Value test(Call& c) { return c.self.str() != nullptr && find_test(c.self.str()->view) != nullptr; }

constexpr Builtin kTests[] = {
    {"!=", "other", ne, 1},
    {"<", "other", lt, 1},
    {"<=", "other", le, 1},
    {"==", "other", eq, 1},
    {">", "other", gt, 1},
    {">=", "other", ge, 1},
    {"boolean", "", boolean},
    {"callable", "", callable},
    {"defined", "", defined},
    {"divisibleby", "num", divisibleby, 1},
    {"eq", "other", eq, 1},
    {"equalto", "other", eq, 1},
    {"even", "", even},
    {"false", "", is_false},
    {"filter", "", filter},
    {"float", "", real},
    {"ge", "other", ge, 1},
    {"greaterthan", "other", gt, 1},
    {"gt", "other", gt, 1},
    {"in", "seq", in, 1},
    {"integer", "", integer},
    {"iterable", "", iterable},
    {"le", "other", le, 1},
    {"lessthan", "other", lt, 1},
    {"lower", "", lower},
    {"lt", "other", lt, 1},
    {"mapping", "", mapping},
    {"ne", "other", ne, 1},
    {"none", "", none},
    {"number", "", number},
    {"odd", "", odd},
    {"sameas", "other", sameas, 1},
    {"sequence", "", sequence},
    {"string", "", string},
    {"test", "", test},
    {"true", "", is_true},
    {"undefined", "", undefined},
    {"upper", "", upper},
};

}  // namespace

const Builtin* find_test(std::string_view name) {
  const auto found = std::find_if(std::begin(kTests), std::end(kTests),
                                  [&](const Builtin& b) { return b.name == name; });
  return found == std::end(kTests) ? nullptr : found;
}

}  // namespace tutti::text::jinja
