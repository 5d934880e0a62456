#include "text/jinja_value.h"

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cmath>

#include "text/jinja_ast.h"
#include "text/python_text.h"

namespace tutti::text::jinja {

namespace json = boost::json;

namespace {
uint64_t add_weights(uint64_t a, uint64_t b) {
  constexpr uint64_t kMax = uint64_t{1} << 60;
  return std::min(a + b, kMax);
}
}  // namespace

Value Value::string(std::string text) {
  auto owner = std::make_shared<const std::string>(std::move(text));
  const std::string_view view = *owner;
  return Value(Str{view, std::move(owner)});
}

Value Value::list(std::vector<Value> items, ListKind kind) {
  auto list = std::make_shared<List>();
  list->kind = kind;
  for (const Value& item : items) {
    list->depth = std::max(list->depth, item.depth() + 1);
    list->weight = add_weights(list->weight, item.weight());
  }
  list->items = std::move(items);
  return Value(std::shared_ptr<const List>(std::move(list)));
}

Value Value::dict(std::vector<std::pair<Value, Value>> entries) {
  auto dict = std::make_shared<Dict>();
  for (const auto& [key, value] : entries) {
    dict->depth = std::max({dict->depth, key.depth() + 1, value.depth() + 1});
    dict->weight = add_weights(add_weights(dict->weight, key.weight()), value.weight());
  }
  dict->entries = std::move(entries);
  return Value(std::shared_ptr<const Dict>(std::move(dict)));
}

Value Value::undefined(std::string reason) {
  return Value(Undefined{std::make_shared<const std::string>(std::move(reason))});
}

Value Value::from_json(const json::value& value, int depth) {
  switch (value.kind()) {
    case json::kind::null:
      return None{};
    case json::kind::bool_:
      return value.get_bool();
    case json::kind::int64:
      return value.get_int64();
    case json::kind::uint64:
      if (value.get_uint64() <= INT64_MAX) return static_cast<int64_t>(value.get_uint64());
      return value.get_uint64();
    case json::kind::double_:
      return value.get_double();
    case json::kind::string:
      return borrowed(value.get_string());
    case json::kind::array: {
      if (depth >= kMaxDepth / 2) return None{};
      std::vector<Value> items;
      items.reserve(value.get_array().size());
      for (const json::value& item : value.get_array()) items.push_back(from_json(item, depth + 1));
      return list(std::move(items));
    }
    case json::kind::object: {
      if (depth >= kMaxDepth / 2) return None{};
      std::vector<std::pair<Value, Value>> entries;
      entries.reserve(value.get_object().size());
      for (const auto& entry : value.get_object()) {
        entries.emplace_back(borrowed(entry.key()), from_json(entry.value(), depth + 1));
      }
      return dict(std::move(entries));
    }
  }
  return None{};
}

const List* Value::list() const {
  const auto* list = get<std::shared_ptr<const List>>();
  return list == nullptr ? nullptr : list->get();
}

const Dict* Value::dict() const {
  const auto* dict = get<std::shared_ptr<const Dict>>();
  return dict == nullptr ? nullptr : dict->get();
}

bool Value::is_number() const { return is_integer() || get<double>() != nullptr; }

int64_t Value::to_int() const {
  if (const bool* b = get<bool>()) return *b ? 1 : 0;
  if (const uint64_t* u = get<uint64_t>())
    return static_cast<int64_t>(std::min<uint64_t>(*u, INT64_MAX));
  const int64_t* i = get<int64_t>();
  return i == nullptr ? 0 : *i;
}

double Value::to_double() const {
  if (const double* d = get<double>()) return *d;
  if (const uint64_t* u = get<uint64_t>()) return static_cast<double>(*u);
  return static_cast<double>(to_int());
}

bool Value::truthy() const {
  if (is_undefined() || is_none()) return false;
  if (is_number()) return get<double>() != nullptr ? to_double() != 0 : to_int() != 0;
  if (const Str* s = str()) return !s->view.empty();
  if (const List* l = list()) return l->kind == ListKind::kGenerator || !l->items.empty();
  if (const Dict* d = dict()) return !d->entries.empty();
  return true;
}

Value Value::substr(size_t begin, size_t size) const {
  const Str* s = str();
  return Value(Str{s->view.substr(begin, size), s->owner});
}

int Value::depth() const {
  if (const List* l = list()) return l->depth;
  if (const Dict* d = dict()) return d->depth;
  if (const auto* bound = get<std::shared_ptr<const Bound>>()) return (*bound)->self.depth() + 1;
  if (const auto* loop = get<std::shared_ptr<const Loop>>()) return (*loop)->items->depth + 1;
  return 0;
}

uint64_t Value::weight() const {
  if (const Str* s = str()) return s->view.size() + 1;
  if (const List* l = list()) return l->weight;
  if (const Dict* d = dict()) return d->weight;
  return 1;
}

std::string_view Value::type_name() const {
  static constexpr std::string_view kNames[] = {
      "Undefined", "NoneType", "bool",      "int",         "int",   "float",  "str",
      "list",      "dict",     "Namespace", "LoopContext", "Macro", "method", "function"};
  if (const List* l = list(); l != nullptr && l->kind != ListKind::kList) {
    return l->kind == ListKind::kTuple ? "tuple" : "generator";
  }
  return kNames[data_.index()];
}

namespace {

// -1, 0, 1, or 2 when one is not a number (NaN).
int compare_numbers(const Value& a, const Value& b) {
  if (a.get<double>() == nullptr && b.get<double>() == nullptr && a.get<uint64_t>() == nullptr &&
      b.get<uint64_t>() == nullptr) {
    return a.to_int() < b.to_int() ? -1 : a.to_int() > b.to_int();
  }
  if (a.get<uint64_t>() != nullptr && b.get<uint64_t>() != nullptr) {
    return *a.get<uint64_t>() < *b.get<uint64_t>() ? -1 : *a.get<uint64_t>() > *b.get<uint64_t>();
  }
  const double x = a.to_double();
  const double y = b.to_double();
  if (std::isnan(x) || std::isnan(y)) return 2;
  return x < y ? -1 : x > y;
}

bool equal_lists(const List& a, const List& b) {
  if (a.kind != b.kind || a.items.size() != b.items.size()) return false;
  return std::equal(a.items.begin(), a.items.end(), b.items.begin(), equals);
}

bool equal_dicts(const Dict& a, const Dict& b) {
  if (a.entries.size() != b.entries.size()) return false;
  return std::all_of(a.entries.begin(), a.entries.end(), [&](const auto& entry) {
    const Value* other = find(b, entry.first);
    return other != nullptr && equals(entry.second, *other);
  });
}

}  // namespace

bool equals(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.str() != nullptr && b.str() != nullptr) return a.str()->view == b.str()->view;
  if (a.list() != nullptr && b.list() != nullptr)
    return a.list() == b.list() || equal_lists(*a.list(), *b.list());
  if (a.dict() != nullptr && b.dict() != nullptr)
    return a.dict() == b.dict() || equal_dicts(*a.dict(), *b.dict());
  if (a.get<Namespace*>() != nullptr && b.get<Namespace*>() != nullptr)
    return *a.get<Namespace*>() == *b.get<Namespace*>();
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

bool compare(const Value& a, const Value& b, int& order) {
  if (a.is_number() && b.is_number()) {
    order = compare_numbers(a, b);
    return true;
  }
  if (a.str() != nullptr && b.str() != nullptr) {
    // UTF-8 orders bytes as Python orders code points.
    const int c = a.str()->view.compare(b.str()->view);
    order = c < 0 ? -1 : c > 0;
    return true;
  }
  if (a.list() != nullptr && b.list() != nullptr && a.list()->kind == b.list()->kind) {
    const auto& x = a.list()->items;
    const auto& y = b.list()->items;
    for (size_t i = 0; i < x.size() && i < y.size(); ++i) {
      if (!equals(x[i], y[i])) return compare(x[i], y[i], order);
    }
    order = x.size() < y.size() ? -1 : x.size() > y.size();
    return true;
  }
  return false;
}

const Value* find(const Dict& dict, const Value& key) {
  for (const auto& [name, value] : dict.entries) {
    if (equals(name, key)) return &value;
  }
  return nullptr;
}

const Value* find(const Dict& dict, std::string_view key) {
  for (const auto& [name, value] : dict.entries) {
    if (name.str() != nullptr && name.str()->view == key) return &value;
  }
  return nullptr;
}

void put_entry(std::vector<std::pair<Value, Value>>& entries, Value key, Value value) {
  for (auto& [known, slot] : entries) {
    if (equals(known, key)) {
      slot = std::move(value);
      return;
    }
  }
  entries.emplace_back(std::move(key), std::move(value));
}

void append_str(std::string& out, const Value& value) {
  if (const Str* s = value.str()) {
    out += s->view;
  } else if (!value.is_undefined()) {
    append_repr(out, value);
  }
}

void append_repr(std::string& out, const Value& value) {
  if (const Str* s = value.str()) {
    python::append_str_repr(out, s->view);
  } else if (value.is_undefined()) {
    out += "Undefined";
  } else if (value.is_none()) {
    out += "None";
  } else if (const bool* b = value.get<bool>()) {
    out += *b ? "True" : "False";
  } else if (const int64_t* i = value.get<int64_t>()) {
    out += std::to_string(*i);
  } else if (const uint64_t* u = value.get<uint64_t>()) {
    out += std::to_string(*u);
  } else if (const double* d = value.get<double>()) {
    out += python::float_repr(*d);
  } else if (const List* list = value.list()) {
    const bool tuple = list->kind == ListKind::kTuple;
    out += tuple ? '(' : '[';
    for (size_t i = 0; i < list->items.size(); ++i) {
      if (i > 0) out += ", ";
      append_repr(out, list->items[i]);
    }
    if (tuple && list->items.size() == 1) out += ',';
    out += tuple ? ')' : ']';
  } else if (const Dict* dict = value.dict()) {
    out += '{';
    for (size_t i = 0; i < dict->entries.size(); ++i) {
      if (i > 0) out += ", ";
      append_repr(out, dict->entries[i].first);
      out += ": ";
      append_repr(out, dict->entries[i].second);
    }
    out += '}';
  } else {
    out += fmt::format("<{}>", value.type_name());
  }
}

namespace {

void append_line(std::string& out, const JsonStyle& style, int level) {
  out += '\n';
  for (int i = 0; i < level; ++i) out += style.indent;
}

bool append_json_key(std::string& out, const Value& key, const JsonStyle& style,
                     std::string_view& bad_type) {
  if (const Str* s = key.str()) {
    python::append_json_string(out, s->view, style.ensure_ascii);
    return true;
  }
  if (key.list() != nullptr || key.dict() != nullptr) {
    bad_type = key.type_name();
    return false;
  }
  out += '"';
  const bool written = append_json(out, key, style, bad_type);
  out += '"';
  return written;
}

bool append_json_dict(std::string& out, const Dict& dict, const JsonStyle& style,
                      std::string_view& bad_type, int level) {
  if (dict.entries.empty()) {
    out += "{}";
    return true;
  }
  std::vector<const std::pair<Value, Value>*> entries;
  for (const auto& entry : dict.entries) entries.push_back(&entry);
  const auto is_text = [](const auto* entry) { return entry->first.str() != nullptr; };
  if (style.sort_keys && std::all_of(entries.begin(), entries.end(), is_text)) {
    std::sort(entries.begin(), entries.end(), [](const auto* a, const auto* b) {
      return a->first.str()->view < b->first.str()->view;
    });
  }
  out += '{';
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i > 0) out += style.item_separator;
    if (style.multiline) append_line(out, style, level + 1);
    if (!append_json_key(out, entries[i]->first, style, bad_type)) return false;
    out += style.key_separator;
    if (!append_json(out, entries[i]->second, style, bad_type, level + 1)) return false;
  }
  if (style.multiline) append_line(out, style, level);
  out += '}';
  return true;
}

bool append_json_list(std::string& out, const List& list, const JsonStyle& style,
                      std::string_view& bad_type, int level) {
  if (list.items.empty()) {
    out += "[]";
    return true;
  }
  out += '[';
  for (size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) out += style.item_separator;
    if (style.multiline) append_line(out, style, level + 1);
    if (!append_json(out, list.items[i], style, bad_type, level + 1)) return false;
  }
  if (style.multiline) append_line(out, style, level);
  out += ']';
  return true;
}

}  // namespace

bool append_json(std::string& out, const Value& value, const JsonStyle& style,
                 std::string_view& bad_type, int level) {
  if (const Str* s = value.str()) {
    python::append_json_string(out, s->view, style.ensure_ascii);
  } else if (value.is_none()) {
    out += "null";
  } else if (const bool* b = value.get<bool>()) {
    out += *b ? "true" : "false";
  } else if (const double* d = value.get<double>()) {
    out += std::isnan(*d)   ? "NaN"
           : std::isinf(*d) ? (*d < 0 ? "-Infinity" : "Infinity")
                            : python::float_repr(*d);
  } else if (value.is_integer()) {
    append_repr(out, value);
  } else if (const Dict* dict = value.dict()) {
    return append_json_dict(out, *dict, style, bad_type, level);
  } else if (const List* list = value.list();
             list != nullptr && list->kind != ListKind::kGenerator) {
    return append_json_list(out, *list, style, bad_type, level);
  } else {
    bad_type = value.type_name();
    return false;
  }
  return true;
}

}  // namespace tutti::text::jinja
