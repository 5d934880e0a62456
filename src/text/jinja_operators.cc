// Comparison and arithmetic, as Python does them.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "text/jinja_interpreter.h"

namespace tutti::text::jinja {

bool Interpreter::same(const Value& a, const Value& b) {
  return charge(std::min(a.weight(), b.weight()) / 16) && equals(a, b);
}

bool Interpreter::less(const Value& a, const Value& b) {
  if (!charge(std::min(a.weight(), b.weight()) / 16)) return false;
  int order = 0;
  if (!compare(a, b, order)) {
    fail(fmt::format("'<' not supported between '{}' and '{}'", a.type_name(), b.type_name()));
  }
  return order == -1;
}

bool Interpreter::contains(const Value& container, const Value& value) {
  if (const Str* s = container.str()) {
    if (value.str() == nullptr) {
      fail(fmt::format("'in <string>' requires string as left operand, not '{}'",
                       value.type_name()));
      return false;
    }
    return charge(s->view.size() / 64) && s->view.find(value.str()->view) != std::string_view::npos;
  }
  if (const Dict* dict = container.dict()) {
    if (value.dict() != nullptr ||
        (value.list() != nullptr && value.list()->kind == ListKind::kList)) {
      fail(fmt::format("a '{}' cannot be a key of a dict", value.type_name()));
      return false;
    }
    return charge(dict->entries.size() / 8 + value.weight() / 64) && find(*dict, value) != nullptr;
  }
  const std::shared_ptr<const List> items = iterate(container);
  if (failed()) return false;
  return std::any_of(items->items.begin(), items->items.end(),
                     [&](const Value& other) { return same(other, value); });
}

bool Interpreter::compare_op(Op op, const Value& a, const Value& b) {
  if (failed()) return false;
  switch (op) {
    case Op::kEq:
      return same(a, b);
    case Op::kNe:
      return !same(a, b);
    case Op::kIn:
      return contains(b, a);
    case Op::kNotIn:
      return !contains(b, a);
    default:
      break;
  }
  for (const Value* value : {&a, &b}) {
    const auto* undefined = value->get<Undefined>();
    if (undefined != nullptr)
      return fail(undefined->reason ? *undefined->reason : "an undefined value is compared"), false;
  }
  if (!charge(std::min(a.weight(), b.weight()) / 16)) return false;
  int order = 0;
  if (!compare(a, b, order)) {
    fail(fmt::format("'{}' and '{}' cannot be ordered", a.type_name(), b.type_name()));
    return false;
  }
  if (order == 2) return false;  // NaN
  return op == Op::kLt   ? order < 0
         : op == Op::kLe ? order <= 0
         : op == Op::kGt ? order > 0
                         : order >= 0;
}

Value Interpreter::eval_compare(const Expr& expr) {
  Value left = eval(*expr.args[0]);
  for (size_t i = 0; i < expr.ops.size(); ++i) {
    Value right = eval(*expr.args[i + 1]);
    if (!compare_op(expr.ops[i], left, right)) return false;
    left = std::move(right);
  }
  return !failed();
}

Value Interpreter::integer_op(Op op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case Op::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case Op::kSub:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case Op::kMul:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case Op::kFloorDiv:
    case Op::kMod: {
      if (b == 0) return fail("division by zero");
      if (b == -1) return op == Op::kMod ? Value(int64_t{0}) : integer_op(Op::kSub, 0, a);
      const bool adjust = a % b != 0 && (a < 0) != (b < 0);  // Python rounds towards minus infinity
      result = op == Op::kMod ? a % b + (adjust ? b : 0) : a / b - (adjust ? 1 : 0);
      break;
    }
    case Op::kPow: {
      if (b < 0) return std::pow(static_cast<double>(a), static_cast<double>(b));
      result = 1;
      for (int64_t i = 0; i < b && !overflow && result != 0 && !(a == 1); ++i) {
        if (a == -1 && i >= 2) return b % 2 == 0 ? int64_t{1} : int64_t{-1};
        overflow = __builtin_mul_overflow(result, a, &result);
      }
      break;
    }
    default:
      return float_op(op, static_cast<double>(a), static_cast<double>(b));
  }
  if (overflow) return fail("an integer leaves the range of 64 bits");
  return result;
}

Value Interpreter::float_op(Op op, double a, double b) {
  if ((op == Op::kDiv || op == Op::kFloorDiv || op == Op::kMod) && b == 0)
    return fail("division by zero");
  switch (op) {
    case Op::kAdd:
      return a + b;
    case Op::kSub:
      return a - b;
    case Op::kMul:
      return a * b;
    case Op::kDiv:
      return a / b;
    case Op::kFloorDiv:
      return std::floor(a / b);
    case Op::kMod: {
      const double rest = std::fmod(a, b);
      return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
    }
    default:
      return std::pow(a, b);
  }
}

Value Interpreter::add(const Value& a, const Value& b) {
  if (a.str() != nullptr && b.str() != nullptr) {
    if (!charge_text(a.str()->view.size() + b.str()->view.size())) return {};
    std::string joined;
    joined.reserve(a.str()->view.size() + b.str()->view.size());
    joined += a.str()->view;
    joined += b.str()->view;
    return Value::string(std::move(joined));
  }
  if (a.list() != nullptr && b.list() != nullptr && a.list()->kind == b.list()->kind &&
      a.list()->kind != ListKind::kGenerator) {
    std::vector<Value> items = a.list()->items;
    items.insert(items.end(), b.list()->items.begin(), b.list()->items.end());
    if (!charge_text(items.size() * sizeof(Value))) return {};
    return Value::list(std::move(items), a.list()->kind);
  }
  return fail(fmt::format("'{}' and '{}' cannot be added", a.type_name(), b.type_name()));
}

Value Interpreter::multiply(const Value& a, const Value& b) {
  const Value& sequence = a.is_integer() ? b : a;
  const Value& count = a.is_integer() ? a : b;
  if (!count.is_integer() || (sequence.str() == nullptr && sequence.list() == nullptr)) {
    return fail(fmt::format("'{}' and '{}' cannot be multiplied", a.type_name(), b.type_name()));
  }
  const auto times = static_cast<uint64_t>(std::max<int64_t>(count.to_int(), 0));
  const uint64_t unit = sequence.str() != nullptr ? sequence.str()->view.size()
                                                  : sequence.list()->items.size() * sizeof(Value);
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(times, unit, &bytes)) bytes = UINT64_MAX;
  if (!charge_text(bytes)) return {};
  if (const Str* s = sequence.str()) {
    std::string repeated;
    for (uint64_t i = 0; i < times && !s->view.empty(); ++i) repeated += s->view;
    return Value::string(std::move(repeated));
  }
  const std::vector<Value>& part = sequence.list()->items;
  std::vector<Value> items;
  for (uint64_t i = 0; i < times && !part.empty(); ++i)
    items.insert(items.end(), part.begin(), part.end());
  return Value::list(std::move(items), sequence.list()->kind);
}

Value Interpreter::binary(Op op, const Value& a, const Value& b) {
  if (failed()) return {};
  for (const Value* value : {&a, &b}) {
    const auto* undefined = value->get<Undefined>();
    if (undefined != nullptr)
      return fail(undefined->reason ? *undefined->reason
                                    : "an undefined value is used in arithmetic");
  }
  if (a.is_number() && b.is_number()) {
    const bool integers = a.is_integer() && b.is_integer() && a.get<uint64_t>() == nullptr &&
                          b.get<uint64_t>() == nullptr;
    return integers ? integer_op(op, a.to_int(), b.to_int())
                    : float_op(op, a.to_double(), b.to_double());
  }
  if (op == Op::kAdd) return add(a, b);
  if (op == Op::kMul) return multiply(a, b);
  if (op == Op::kMod && a.str() != nullptr) return percent_format(*this, a.str()->view, b);
  return fail(fmt::format("'{}' and '{}' have no such operator", a.type_name(), b.type_name()));
}

}  // namespace tutti::text::jinja
