// Values of the template language, with Python's semantics: what a template computes with and what
// the caller's JSON becomes. Lists and dicts are immutable once made, so there are no cycles.
// *Thread:* one render's thread. *Ownership:* strings borrow from the context or the template, or
// share a string of their own; namespaces belong to the interpreter.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace tutti::text::jinja {

class Value;
struct Stmt;

struct Undefined {
  std::shared_ptr<const std::string> reason;  // "'x' is undefined"
};
struct None {};
struct Str {
  std::string_view view;
  std::shared_ptr<const std::string> owner;  // null: borrowed for the render
};
enum class ListKind { kList, kTuple, kGenerator };
struct List {
  std::vector<Value> items;
  ListKind kind = ListKind::kList;
  int depth = 1;        // nesting, bounded so that recursion over values is
  uint64_t weight = 1;  // nodes and string bytes below, shared ones counted each time
};
struct Dict {
  std::vector<std::pair<Value, Value>> entries;  // insertion order
  int depth = 1;
  uint64_t weight = 1;
};
struct Namespace {
  std::vector<std::pair<std::string, Value>> vars;
};
// State of a running loop; `loop` in the template.
struct Loop {
  std::shared_ptr<const List> items;
  size_t index = 0;
};
struct Bound;  // a method with its object
enum class Function { kRange, kNamespace, kDict, kRaiseException, kStrftimeNow };

class Value {
 public:
  using Variant = std::variant<Undefined, None, bool, int64_t, uint64_t, double, Str,
                               std::shared_ptr<const List>, std::shared_ptr<const Dict>, Namespace*,
                               std::shared_ptr<const Loop>, const Stmt*,
                               std::shared_ptr<const Bound>, Function>;

  Value() = default;
  template <typename T>
    requires std::is_constructible_v<Variant, T>
  Value(T value) : data_(std::move(value)) {}

  static Value borrowed(std::string_view text) { return Value(Str{text, nullptr}); }
  static Value string(std::string text);
  static Value list(std::vector<Value> items, ListKind kind = ListKind::kList);
  static Value dict(std::vector<std::pair<Value, Value>> entries);
  static Value undefined(std::string reason);
  // Deep copy of the structure; strings borrow from `json`. A value nested deeper than kMaxDepth
  // ends there in a null.
  static Value from_json(const boost::json::value& json, int depth = 0);

  template <typename T>
  const T* get() const {
    return std::get_if<T>(&data_);
  }
  const Str* str() const { return get<Str>(); }
  const List* list() const;
  const Dict* dict() const;
  bool is_undefined() const { return get<Undefined>() != nullptr; }
  bool is_none() const { return get<None>() != nullptr; }
  bool is_number() const;  // bool counts, as in Python
  bool is_integer() const { return get<bool>() || get<int64_t>() || get<uint64_t>(); }
  int64_t to_int() const;    // of a bool, int64_t or uint64_t
  double to_double() const;  // of any number
  bool truthy() const;
  // The part [begin, begin + size) of a string, sharing its bytes.
  Value substr(size_t begin, size_t size) const;
  int depth() const;
  // What walking the whole value costs; the interpreter pays it before it prints or compares.
  uint64_t weight() const;
  // Python's type name, for messages.
  std::string_view type_name() const;

  static constexpr int kMaxDepth = 96;

 private:
  Variant data_;
};

struct Bound {
  Value self;
  std::string_view name;
};

bool equals(const Value& a, const Value& b);
// Orders numbers, strings and lists; false when Python could not compare them.
bool compare(const Value& a, const Value& b, int& order);
const Value* find(const Dict& dict, const Value& key);
const Value* find(const Dict& dict, std::string_view key);
// Sets the entry of `key`, at the end when it is new.
void put_entry(std::vector<std::pair<Value, Value>>& entries, Value key, Value value);

// str(value) and repr(value).
void append_str(std::string& out, const Value& value);
void append_repr(std::string& out, const Value& value);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  bool multiline = false;  // json.dumps with an indent
  std::string indent;      // of one level
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
// json.dumps(value); false, with the offending type, when a part of it has no JSON form.
bool append_json(std::string& out, const Value& value, const JsonStyle& style,
                 std::string_view& bad_type, int level = 0);

}  // namespace tutti::text::jinja
