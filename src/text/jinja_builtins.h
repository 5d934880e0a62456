// Filters, tests and methods of the template language, found by name.
// *Thread:* immutable tables; any thread.
#pragma once

#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja_value.h"

namespace tutti::text::jinja {

class Interpreter;

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> named;
};

// One call, its arguments bound to the builtin's parameters.
struct Call {
  Interpreter& in;
  const Value& self;
  std::string_view name;
  std::vector<const Value*> slots;  // by parameter; null where not given
  const Arguments* all = nullptr;

  // Null when not given.
  const Value* arg(size_t index) const { return index < slots.size() ? slots[index] : nullptr; }
  // The argument, or `fallback`; an error on another type.
  int64_t int_arg(size_t index, int64_t fallback);
  bool bool_arg(size_t index, bool fallback) const;
  std::string_view str_arg(size_t index, std::string_view fallback);
};

struct Builtin {
  std::string_view name;
  std::string_view parameters;  // "a,b"; "*" takes whatever comes
  Value (*run)(Call&) = nullptr;
  size_t required = 0;  // of the parameters
};

const Builtin* find_filter(std::string_view name);
const Builtin* find_test(std::string_view name);
// A method of the value's type; null when it has none of that name.
const Builtin* find_method(const Value& self, std::string_view name);
// A method of Python's that changes its object: templates may not (their values are immutable).
bool is_mutating_method(const Value& self, std::string_view name);

}  // namespace tutti::text::jinja
