// Calls: arguments, builtins, macros and the global functions.
#include <fmt/format.h>

#include <algorithm>

#include "text/jinja_interpreter.h"

namespace tutti::text::jinja {

Arguments Interpreter::arguments(const Expr& expr) {
  Arguments arguments;
  for (size_t i = 1; i < expr.args.size(); ++i) arguments.positional.push_back(eval(*expr.args[i]));
  for (const auto& [name, value] : expr.named) arguments.named.emplace_back(name, eval(*value));
  return arguments;
}

Value Interpreter::eval_call(const Expr& expr) {
  const Expr& callee = *expr.args[0];
  if (callee.kind == ExprKind::kGetAttr) {  // a method, without the detour over a bound one
    const Value object = eval(*callee.args[0]);
    if (failed()) return {};
    const Builtin* method = find_method(object, callee.name);
    if (method != nullptr) return call_builtin(*method, object, arguments(expr));
    const Value function = attribute(object, callee.name);
    return call(function, arguments(expr));
  }
  const Value function = eval(callee);
  return call(function, arguments(expr));
}

Value Interpreter::eval_filter(const Expr& expr, const Value* block_input) {
  Value input;
  if (expr.args[0] == nullptr) {
    if (block_input != nullptr) input = *block_input;
  } else if (block_input != nullptr && expr.args[0]->kind == ExprKind::kFilter) {
    input = eval_filter(*expr.args[0], block_input);
  } else {
    input = eval(*expr.args[0]);
  }
  if (failed()) return {};
  return call_builtin(*expr.builtin, input, arguments(expr));
}

Value Interpreter::eval_test(const Expr& expr) {
  const Value value = eval(*expr.args[0]);
  if (failed()) return {};
  return call_builtin(*expr.builtin, value, arguments(expr));
}

Value Interpreter::call(const Value& callee, const Arguments& arguments) {
  if (failed()) return {};
  if (const Function* function = callee.get<Function>()) return call_function(*function, arguments);
  if (const Stmt* const* macro = callee.get<const Stmt*>()) return call_macro(**macro, arguments);
  if (const auto* bound = callee.get<std::shared_ptr<const Bound>>()) {
    return call_builtin(*find_method((*bound)->self, (*bound)->name), (*bound)->self, arguments);
  }
  if (const auto* undefined = callee.get<Undefined>())
    return fail(undefined->reason ? *undefined->reason : "an undefined value is called");
  return fail(fmt::format("'{}' object is not callable", callee.type_name()));
}

Value Interpreter::call_builtin(const Builtin& builtin, const Value& self,
                                const Arguments& arguments) {
  if (failed() || !charge(1)) return {};
  Call call{*this, self, builtin.name, {}, &arguments};
  if (builtin.parameters == "*") return builtin.run(call);
  std::vector<std::string_view> names;
  for (std::string_view rest = builtin.parameters; !rest.empty();) {
    const size_t comma = rest.find(',');
    names.push_back(rest.substr(0, comma));
    rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
  }
  call.slots.resize(names.size(), nullptr);
  if (arguments.positional.size() > names.size()) {
    return fail(fmt::format("'{}' takes at most {} arguments, {} were given", builtin.name,
                            names.size(), arguments.positional.size()));
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) call.slots[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
      return fail(fmt::format("'{}' takes no argument '{}'", builtin.name, name));
    call.slots[static_cast<size_t>(found - names.begin())] = &value;
  }
  for (size_t i = 0; i < builtin.required; ++i) {
    if (call.slots[i] == nullptr)
      return fail(fmt::format("'{}' needs the argument '{}'", builtin.name, names[i]));
  }
  return builtin.run(call);
}

Value Interpreter::call_macro(const Stmt& macro, const Arguments& arguments) {
  if (arguments.positional.size() > macro.parameters.size()) {
    return fail(fmt::format("macro '{}' takes at most {} arguments, {} were given", macro.text,
                            macro.parameters.size(), arguments.positional.size()));
  }
  const Depth depth(*this);
  if (!depth.ok()) return {};
  Scope scope{&root_, {}};
  Scope* const outer_scope = std::exchange(scope_, &scope);
  std::string written;
  std::string* const outer_out = std::exchange(out_, &written);
  const int outer_line = line_;
  for (size_t i = 0; i < macro.parameters.size() && !failed(); ++i) {
    const std::string& name = macro.parameters[i];
    const size_t first_default = macro.parameters.size() - macro.values.size();
    const auto named = std::find_if(arguments.named.begin(), arguments.named.end(),
                                    [&](const auto& arg) { return arg.first == name; });
    if (i < arguments.positional.size()) {
      set_var(name, arguments.positional[i]);
    } else if (named != arguments.named.end()) {
      set_var(name, named->second);
    } else if (i >= first_default) {
      set_var(name, eval(*macro.values[i - first_default]));
    } else {
      set_var(name, Value::undefined(fmt::format("parameter '{}' was not provided", name)));
    }
  }
  for (const auto& [name, value] : arguments.named) {
    if (std::find(macro.parameters.begin(), macro.parameters.end(), name) ==
        macro.parameters.end()) {
      fail(fmt::format("macro '{}' takes no argument '{}'", macro.text, name));
    }
  }
  if (!failed()) exec_body(macro.body);
  line_ = outer_line;
  out_ = outer_out;
  scope_ = outer_scope;
  return text(std::move(written));
}

Value Interpreter::call_function(Function function, const Arguments& arguments) {
  switch (function) {
    case Function::kRange:
      return make_range(arguments);
    case Function::kNamespace:
      return make_dict(arguments, true);
    case Function::kDict:
      return make_dict(arguments, false);
    case Function::kRaiseException:
      if (arguments.positional.size() != 1) return fail("raise_exception takes one argument");
      return fail(str(arguments.positional[0]));
    case Function::kStrftimeNow: {
      if (arguments.positional.size() != 1 || arguments.positional[0].str() == nullptr) {
        return fail("strftime_now takes one format string");
      }
      const std::string format(arguments.positional[0].str()->view);
      std::tm parts{};
      localtime_r(&now_, &parts);
      char buffer[512];
      const size_t size = std::strftime(buffer, sizeof(buffer), format.c_str(), &parts);
      if (size == 0 && !format.empty())
        return fail("strftime_now makes no text, or one that is too long");
      return text(std::string(buffer, size));
    }
  }
  return {};
}

Value Interpreter::make_range(const Arguments& arguments) {
  const std::vector<Value>& args = arguments.positional;
  if (args.empty() || args.size() > 3 || !arguments.named.empty() ||
      !std::all_of(args.begin(), args.end(),
                   [](const Value& value) { return value.is_integer(); })) {
    return fail("range takes one to three integers");
  }
  const int64_t begin = args.size() > 1 ? args[0].to_int() : 0;
  const int64_t end = args.size() > 1 ? args[1].to_int() : args[0].to_int();
  const int64_t step = args.size() > 2 ? args[2].to_int() : 1;
  if (step == 0) return fail("the step of range cannot be zero");
  // Jinja's sandbox has the same bound.
  constexpr uint64_t kMaxRange = 100'000;
  const __int128 distance =
      step > 0 ? static_cast<__int128>(end) - begin : static_cast<__int128>(begin) - end;
  const __int128 stride = step > 0 ? static_cast<__int128>(step) : -static_cast<__int128>(step);
  const __int128 count = distance <= 0 ? 0 : (distance + stride - 1) / stride;
  if (count > kMaxRange) return fail(fmt::format("a range has at most {} numbers", kMaxRange));
  std::vector<Value> numbers;
  for (int64_t i = 0; i < static_cast<int64_t>(count); ++i) numbers.emplace_back(begin + i * step);
  if (!charge_text(numbers.size() * sizeof(Value))) return {};
  return Value::list(std::move(numbers));
}

Value Interpreter::make_dict(const Arguments& arguments, bool as_namespace) {
  std::vector<std::pair<Value, Value>> entries;
  for (const Value& source : arguments.positional) {
    if (const Dict* dict = source.dict()) {
      for (const auto& [key, value] : dict->entries) put_entry(entries, key, value);
      if (!charge(dict->entries.size() * dict->entries.size() / 8)) return {};
      continue;
    }
    const std::shared_ptr<const List> pairs = iterate(source);
    if (failed()) return {};
    for (const Value& pair : pairs->items) {
      if (pair.list() == nullptr || pair.list()->items.size() != 2)
        return fail("dict and namespace take mappings or pairs");
      if (!charge(1 + entries.size() / 8)) return {};
      put_entry(entries, pair.list()->items[0], pair.list()->items[1]);
    }
  }
  for (const auto& [name, value] : arguments.named)
    put_entry(entries, Value::borrowed(name), value);
  if (!as_namespace) {
    Value dict = Value::dict(std::move(entries));
    if (dict.depth() > Value::kMaxDepth)
      return fail(fmt::format("values nest deeper than {}", Value::kMaxDepth));
    return dict;
  }
  if (!charge_text(sizeof(Namespace) + entries.size() * sizeof(Value))) return {};
  Namespace& ns = namespaces_.emplace_back();
  for (auto& [key, value] : entries) {
    if (key.str() == nullptr) return fail("a namespace's names are strings");
    ns.vars.emplace_back(std::string(key.str()->view), std::move(value));
  }
  return &ns;
}

}  // namespace tutti::text::jinja
