// Names, literals, attributes, items and slices.
#include <fmt/format.h>

#include <algorithm>

#include "text/jinja_interpreter.h"
#include "text/utf8.h"

namespace tutti::text::jinja {

Value Interpreter::eval(const Expr& expr) {
  const int outer_line = std::exchange(line_, expr.line);
  const Depth depth(*this);
  if (!depth.ok() || !charge(1)) return {};
  Value value = eval_kind(expr);
  line_ = outer_line;
  return value;
}

Value Interpreter::eval_kind(const Expr& expr) {
  switch (expr.kind) {
    case ExprKind::kConst:
      return expr.constant;
    case ExprKind::kName:
      return eval_name(expr);
    case ExprKind::kList:
    case ExprKind::kTuple:
      return eval_list(expr);
    case ExprKind::kDict:
      return eval_dict(expr);
    case ExprKind::kGetAttr:
      return attribute(eval(*expr.args[0]), expr.name);
    case ExprKind::kGetItem: {
      const Value object = eval(*expr.args[0]);
      return item(object, eval(*expr.args[1]));
    }
    case ExprKind::kSlice:
      return eval_slice(expr);
    case ExprKind::kCall:
      return eval_call(expr);
    case ExprKind::kFilter:
      return eval_filter(expr, nullptr);
    case ExprKind::kTest:
      return eval_test(expr);
    case ExprKind::kBinary: {
      const Value left = eval(*expr.args[0]);
      return binary(expr.op, left, eval(*expr.args[1]));
    }
    case ExprKind::kCompare:
      return eval_compare(expr);
    case ExprKind::kConcat:
      return eval_concat(expr);
    case ExprKind::kAnd: {
      Value left = eval(*expr.args[0]);
      return left.truthy() ? eval(*expr.args[1]) : left;
    }
    case ExprKind::kOr: {
      Value left = eval(*expr.args[0]);
      return left.truthy() ? left : eval(*expr.args[1]);
    }
    case ExprKind::kNot:
      return !eval(*expr.args[0]).truthy();
    case ExprKind::kNegate:
    case ExprKind::kPlus:
      return eval_sign(expr);
    case ExprKind::kCondition:
      return eval_condition(expr);
  }
  return {};
}

Value Interpreter::eval_name(const Expr& expr) {
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    for (const auto& [name, value] : scope->vars) {
      if (name == expr.name) return value;
    }
  }
  for (const auto& [name, value] : *context_) {
    if (name == expr.name) return value;
  }
  static constexpr std::pair<std::string_view, Function> kGlobals[] = {
      {"range", Function::kRange},
      {"namespace", Function::kNamespace},
      {"dict", Function::kDict},
      {"raise_exception", Function::kRaiseException},
      {"strftime_now", Function::kStrftimeNow}};
  for (const auto& [name, function] : kGlobals) {
    if (name == expr.name) return function;
  }
  return Value::undefined(fmt::format("'{}' is undefined", expr.name));
}

Value Interpreter::eval_list(const Expr& expr) {
  std::vector<Value> items;
  items.reserve(expr.args.size());
  for (const ExprPtr& arg : expr.args) items.push_back(eval(*arg));
  Value list = Value::list(std::move(items),
                           expr.kind == ExprKind::kTuple ? ListKind::kTuple : ListKind::kList);
  if (list.depth() > Value::kMaxDepth)
    return fail(fmt::format("values nest deeper than {}", Value::kMaxDepth));
  return list;
}

Value Interpreter::eval_dict(const Expr& expr) {
  std::vector<std::pair<Value, Value>> entries;
  for (size_t i = 0; i + 1 < expr.args.size(); i += 2) {
    Value key = eval(*expr.args[i]);
    if (key.dict() != nullptr || (key.list() != nullptr && key.list()->kind != ListKind::kTuple)) {
      return fail(fmt::format("a '{}' cannot be a key of a dict", key.type_name()));
    }
    if (!charge(key.weight() / 64 + entries.size())) return {};
    Value value = eval(*expr.args[i + 1]);
    put_entry(entries, std::move(key), std::move(value));
  }
  Value dict = Value::dict(std::move(entries));
  if (dict.depth() > Value::kMaxDepth)
    return fail(fmt::format("values nest deeper than {}", Value::kMaxDepth));
  return dict;
}

Value Interpreter::eval_condition(const Expr& expr) {
  if (eval(*expr.args[1]).truthy()) return eval(*expr.args[0]);
  if (expr.args[2] != nullptr) return eval(*expr.args[2]);
  return Value::undefined(
      "the inline if-expression evaluated to false and no else section was defined");
}

Value Interpreter::eval_sign(const Expr& expr) {
  const Value value = eval(*expr.args[0]);
  if (failed()) return {};
  if (!value.is_number()) return fail(fmt::format("'{}' takes no sign", value.type_name()));
  const bool negate = expr.kind == ExprKind::kNegate;
  if (const double* d = value.get<double>()) return negate ? -*d : *d;
  return negate ? integer_op(Op::kSub, 0, value.to_int()) : Value(value.to_int());
}

Value Interpreter::eval_concat(const Expr& expr) {
  std::string joined;
  for (const ExprPtr& arg : expr.args) {
    joined += str(eval(*arg));
    if (failed()) return {};
  }
  return text(std::move(joined));
}

namespace {

// Byte position `count` code points behind `from`.
size_t byte_offset(std::string_view text, size_t from, int64_t count) {
  for (; count > 0 && from < text.size(); --count) from += utf8_length(text[from]);
  return from;
}

// Python's slice.indices: positions from begin to end in steps, clamped to the length.
struct SliceRange {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t step = 1;
};

SliceRange clamp_slice(const Value& begin, const Value& end, int64_t step, int64_t size) {
  const int64_t low = step > 0 ? 0 : -1;
  const int64_t high = step > 0 ? size : size - 1;
  const auto bound = [&](const Value& value, int64_t fallback) {
    if (!value.is_integer()) return fallback;
    int64_t at = value.to_int();
    if (at < 0) at = at < -size ? -size - 1 : at;
    if (at < 0) at += size;
    return std::clamp(at, low, high);
  };
  return {bound(begin, step > 0 ? low : high), bound(end, step > 0 ? high : low), step};
}

}  // namespace

Value Interpreter::eval_slice(const Expr& expr) {
  const Value object = eval(*expr.args[0]);
  Value bounds[3];
  for (size_t i = 0; i < 3; ++i) {
    if (expr.args[i + 1] != nullptr) bounds[i] = eval(*expr.args[i + 1]);
    const bool given = expr.args[i + 1] != nullptr && !bounds[i].is_none();
    if (given && !bounds[i].is_integer() && !failed()) return fail("slice bounds must be integers");
  }
  if (failed()) return {};
  if (const auto* undefined = object.get<Undefined>())
    return fail(undefined->reason ? *undefined->reason : "undefined");
  const int64_t step = bounds[2].is_integer() ? bounds[2].to_int() : 1;
  if (step == 0 || step == INT64_MIN) return fail("a slice step cannot be zero");
  const List* list = object.list();
  if (object.str() == nullptr && (list == nullptr || list->kind == ListKind::kGenerator)) {
    return fail(fmt::format("'{}' object cannot be sliced", object.type_name()));
  }
  if (list == nullptr && step == 1) {  // a part of the string itself
    const std::string_view whole = object.str()->view;
    if (!charge(whole.size() / 64)) return {};
    const SliceRange range =
        clamp_slice(bounds[0], bounds[1], 1, static_cast<int64_t>(utf8_count(whole)));
    if (range.begin >= range.end) return Value::borrowed("");
    const size_t begin = byte_offset(whole, 0, range.begin);
    return object.substr(begin, byte_offset(whole, begin, range.end - range.begin) - begin);
  }
  const std::shared_ptr<const List> items = iterate(object);
  if (failed()) return {};
  const auto size = static_cast<int64_t>(items->items.size());
  const SliceRange range = clamp_slice(bounds[0], bounds[1], step, size);
  std::vector<Value> picked;
  std::string characters;
  for (int64_t i = range.begin; step > 0 ? i < range.end : i > range.end; i += step) {
    const Value& value = items->items[static_cast<size_t>(i)];
    list == nullptr ? void(characters += value.str()->view) : picked.push_back(value);
    if (step > size || step < -size) break;
  }
  if (list == nullptr) return text(std::move(characters));
  if (!charge(picked.size())) return {};
  return Value::list(std::move(picked), list->kind);
}

Value Interpreter::attribute(const Value& object, std::string_view name) {
  if (failed()) return {};
  if (const auto* undefined = object.get<Undefined>()) {
    return fail(undefined->reason ? *undefined->reason
                                  : fmt::format("undefined has no attribute '{}'", name));
  }
  if (Namespace* const* ns = object.get<Namespace*>()) {
    for (const auto& [known, value] : (*ns)->vars) {
      if (known == name) return value;
    }
    return Value::undefined(fmt::format("the namespace has no attribute '{}'", name));
  }
  if (const auto* loop_ptr = object.get<std::shared_ptr<const Loop>>()) {
    const Loop& loop = **loop_ptr;
    const auto index = static_cast<int64_t>(loop.index);
    const auto size = static_cast<int64_t>(loop.items->items.size());
    if (name == "index") return index + 1;
    if (name == "index0") return index;
    if (name == "first") return index == 0;
    if (name == "last") return index + 1 == size;
    if (name == "length") return size;
    if (name == "revindex") return size - index;
    if (name == "revindex0") return size - index - 1;
    if (name == "depth") return int64_t{1};  // recursive loops are not supported
    if (name == "depth0") return int64_t{0};
    if (name == "previtem")
      return index > 0 ? loop.items->items[loop.index - 1]
                       : Value::undefined("there is no previous item");
    if (name == "nextitem")
      return index + 1 < size ? loop.items->items[loop.index + 1]
                              : Value::undefined("there is no next item");
  }
  if (find_method(object, name) != nullptr) {
    return Value(std::shared_ptr<const Bound>(std::make_shared<Bound>(Bound{object, name})));
  }
  if (is_mutating_method(object, name)) {
    return fail(
        fmt::format("the method '{}' of '{}' changes its object, which templates may not do", name,
                    object.type_name()));
  }
  if (const Dict* dict = object.dict()) {
    if (!charge(dict->entries.size() / 8)) return {};
    if (const Value* value = find(*dict, name)) return *value;
  }
  return Value::undefined(
      fmt::format("'{} object' has no attribute '{}'", object.type_name(), name));
}

Value Interpreter::item(const Value& object, const Value& key) {
  if (failed()) return {};
  if (const auto* undefined = object.get<Undefined>()) {
    return fail(undefined->reason ? *undefined->reason : "undefined has no items");
  }
  if (const Dict* dict = object.dict()) {
    if (!charge(dict->entries.size() / 8 + key.weight() / 64)) return {};
    if (const Value* value = find(*dict, key)) return *value;
  } else if (key.is_integer()) {
    const List* list = object.list();
    const Str* s = object.str();
    if (s != nullptr && !charge(s->view.size() / 64)) return {};
    int64_t size = 0;
    if (s != nullptr) size = static_cast<int64_t>(utf8_count(s->view));
    if (list != nullptr && list->kind != ListKind::kGenerator)
      size = static_cast<int64_t>(list->items.size());
    const int64_t index = key.to_int() < 0 ? key.to_int() + size : key.to_int();
    if (index >= 0 && index < size) {
      if (list != nullptr) return list->items[static_cast<size_t>(index)];
      const size_t at = byte_offset(s->view, 0, index);
      return object.substr(at, utf8_length(s->view[at]));
    }
  }
  if (const Str* name = key.str()) return attribute(object, name->view);
  return Value::undefined(
      fmt::format("'{} object' has no element {}", object.type_name(),
                  key.is_integer() ? std::to_string(key.to_int()) : "of that key"));
}

Value Interpreter::attribute_path(const Value& object, const Value& path, const Value* fallback) {
  const auto step = [&](const Value& from, const Value& key) {
    Value value = item(from, key);
    return value.is_undefined() && fallback != nullptr && !fallback->is_none() && !failed()
               ? *fallback
               : value;
  };
  if (path.is_integer()) return step(object, path);
  if (path.str() == nullptr) return fail("an attribute must be named by a string or an integer");
  Value value = object;
  std::string_view rest = path.str()->view;
  while (!failed()) {
    const size_t dot = rest.find('.');
    const std::string_view part = rest.substr(0, dot);
    int64_t index = 0;
    const bool number =
        !part.empty() && part.size() < 10 &&
        std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (number) index = std::stoll(std::string(part));
    value = number ? step(value, index) : step(value, Value::borrowed(part));
    if (dot == std::string_view::npos) return value;
    rest.remove_prefix(dot + 1);
  }
  return {};
}

}  // namespace tutti::text::jinja
