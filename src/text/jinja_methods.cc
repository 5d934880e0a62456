// Methods of strings, lists, dicts and loops that templates call, with Python's semantics.
#include <fmt/format.h>

#include <algorithm>

#include "text/jinja_interpreter.h"
#include "text/python_text.h"
#include "text/utf8.h"

namespace tutti::text::jinja {

namespace {

std::string_view self_text(const Call& c) { return c.self.str()->view; }

Value part_of(const Call& c, std::string_view part) {
  return c.self.substr(static_cast<size_t>(part.data() - self_text(c).data()), part.size());
}

// --- str

Value strip_ends(Call& c, bool left, bool right) {
  const std::string_view chars = c.str_arg(0, "");
  const bool any_space = c.arg(0) == nullptr || c.arg(0)->is_none();
  if (!c.in.charge(chars.size() / 8 + self_text(c).size() / 64)) return {};
  // Many characters to look through for each one stripped.
  if (chars.size() > 256 && !c.in.charge(chars.size() * (self_text(c).size() / 64 + 1))) return {};
  return part_of(c, python::strip(self_text(c), any_space ? nullptr : &chars, left, right));
}
Value strip(Call& c) { return strip_ends(c, true, true); }
Value lstrip(Call& c) { return strip_ends(c, true, false); }
Value rstrip(Call& c) { return strip_ends(c, false, true); }

Value split_text(Call& c, bool from_right) {
  const std::string_view separator = c.str_arg(0, "");
  const bool white_space = c.arg(0) == nullptr || c.arg(0)->is_none();
  if (!white_space && separator.empty()) return c.in.fail("empty separator");
  const int64_t max = c.int_arg(1, -1);
  if (!c.in.charge(self_text(c).size() / 64)) return {};
  std::vector<Value> parts;
  for (const std::string_view part :
       python::split(self_text(c), white_space ? nullptr : &separator, max, from_right)) {
    parts.push_back(part_of(c, part));
  }
  if (!c.in.charge_text(parts.size() * sizeof(Value))) return {};
  return Value::list(std::move(parts));
}
Value split(Call& c) { return split_text(c, false); }
Value rsplit(Call& c) { return split_text(c, true); }

Value splitlines(Call& c) {
  std::vector<Value> lines;
  for (const std::string_view line : python::split_lines(self_text(c), c.bool_arg(0, false)))
    lines.push_back(part_of(c, line));
  if (!c.in.charge_text(lines.size() * sizeof(Value))) return {};
  return Value::list(std::move(lines));
}

Value partition_at(Call& c, size_t at, size_t size, bool found_left) {
  const std::string_view text = self_text(c);
  const Value empty = Value::borrowed("");
  if (at == std::string_view::npos) {
    return Value::list(found_left ? std::vector<Value>{c.self, empty, empty}
                                  : std::vector<Value>{empty, empty, c.self},
                       ListKind::kTuple);
  }
  return Value::list({part_of(c, text.substr(0, at)), part_of(c, text.substr(at, size)),
                      part_of(c, text.substr(at + size))},
                     ListKind::kTuple);
}
Value partition(Call& c) {
  const std::string_view separator = c.str_arg(0, "");
  if (separator.empty()) return c.in.fail("empty separator");
  return partition_at(c, self_text(c).find(separator), separator.size(), true);
}
Value rpartition(Call& c) {
  const std::string_view separator = c.str_arg(0, "");
  if (separator.empty()) return c.in.fail("empty separator");
  return partition_at(c, self_text(c).rfind(separator), separator.size(), false);
}

// A string, or a tuple of strings of which one must fit.
bool affix(Call& c, bool at_end) {
  const auto fits = [&](const Value& value) {
    if (value.str() == nullptr) {
      c.in.fail(fmt::format("'{}' takes a string or a tuple of strings, not a '{}'", c.name,
                            value.type_name()));
      return false;
    }
    return at_end ? self_text(c).ends_with(value.str()->view)
                  : self_text(c).starts_with(value.str()->view);
  };
  const List* list = c.arg(0)->list();
  if (list != nullptr && list->kind == ListKind::kTuple)
    return std::any_of(list->items.begin(), list->items.end(), fits);
  return fits(*c.arg(0));
}
Value startswith(Call& c) { return affix(c, false); }
Value endswith(Call& c) { return affix(c, true); }

Value upper(Call& c) { return c.in.text(python::upper(self_text(c))); }
Value lower(Call& c) { return c.in.text(python::lower(self_text(c))); }
Value title(Call& c) { return c.in.text(python::title(self_text(c))); }
Value capitalize(Call& c) { return c.in.text(python::capitalize(self_text(c))); }
Value swapcase(Call& c) { return c.in.text(python::swapcase(self_text(c))); }
Value replace(Call& c) {
  c.str_arg(0, "");
  c.str_arg(1, "");
  if (c.in.failed()) return {};
  return c.in.call_builtin(*find_filter("replace"), c.self, *c.all);
}
Value join(Call& c) {
  const auto parts = c.in.iterate(*c.arg(0));
  if (c.in.failed() || !c.in.charge_text(parts->items.size() * self_text(c).size())) return {};
  std::string out;
  for (size_t i = 0; i < parts->items.size(); ++i) {
    const Str* part = parts->items[i].str();
    if (part == nullptr)
      return c.in.fail(
          fmt::format("join finds a '{}' where it takes strings", parts->items[i].type_name()));
    if (i > 0) out += self_text(c);
    if (!c.in.charge_text(part->view.size())) return {};
    out += part->view;
  }
  return Value::string(std::move(out));
}

// Code points before a byte position; -1 for npos.
Value position(const Call& c, size_t at) {
  if (at == std::string_view::npos) return int64_t{-1};
  return static_cast<int64_t>(utf8_count(self_text(c).substr(0, at)));
}
Value find_text(Call& c) { return position(c, self_text(c).find(c.str_arg(0, ""))); }
Value rfind_text(Call& c) { return position(c, self_text(c).rfind(c.str_arg(0, ""))); }
Value index_text(Call& c) {
  const size_t at = self_text(c).find(c.str_arg(0, ""));
  return at == std::string_view::npos ? c.in.fail("substring not found") : position(c, at);
}
Value count_text(Call& c) {
  const std::string_view part = c.str_arg(0, "");
  if (part.empty()) return static_cast<int64_t>(utf8_count(self_text(c)) + 1);
  int64_t count = 0;
  for (size_t at = 0; (at = self_text(c).find(part, at)) != std::string_view::npos;
       at += part.size())
    ++count;
  return count;
}
Value removeprefix(Call& c) {
  const std::string_view prefix = c.str_arg(0, "");
  return self_text(c).starts_with(prefix) ? part_of(c, self_text(c).substr(prefix.size())) : c.self;
}
Value removesuffix(Call& c) {
  const std::string_view suffix = c.str_arg(0, "");
  return self_text(c).ends_with(suffix)
             ? part_of(c, self_text(c).substr(0, self_text(c).size() - suffix.size()))
             : c.self;
}

Value padded(Call& c, bool left, bool right) {
  const int64_t width = c.int_arg(0, 0);
  const std::string_view fill = c.str_arg(1, " ");
  if (utf8_count(fill) != 1) return c.in.fail("the fill must be one character");
  const auto size = static_cast<int64_t>(utf8_count(self_text(c)));
  if (width <= size) return c.self;
  if (!c.in.charge_text(static_cast<uint64_t>(width) * fill.size())) return {};
  const int64_t missing = width - size;
  const int64_t before = !left ? 0 : !right ? missing : missing / 2 + (missing & width & 1);
  std::string out;
  for (int64_t i = 0; i < before; ++i) out += fill;
  out += self_text(c);
  for (int64_t i = before; i < missing; ++i) out += fill;
  return c.in.text(std::move(out));
}
Value ljust(Call& c) { return padded(c, false, true); }
Value rjust(Call& c) { return padded(c, true, false); }
Value center(Call& c) { return padded(c, true, true); }
Value zfill(Call& c) {
  const int64_t width = c.int_arg(0, 0);
  const auto size = static_cast<int64_t>(utf8_count(self_text(c)));
  if (width <= size) return c.self;
  if (!c.in.charge_text(static_cast<uint64_t>(width))) return {};
  std::string out(self_text(c));
  out.insert(out.starts_with('-') || out.starts_with('+') ? 1 : 0,
             static_cast<size_t>(width - size), '0');
  return c.in.text(std::move(out));
}

template <python::CharClass kClass>
Value all_of(Call& c) {
  return python::all_of_class(self_text(c), kClass);
}

// str.format with {}, {0} and {name}; conversions and format specs are not supported.
Value format(Call& c) {
  std::string out;
  size_t next = 0;
  const std::string_view text = self_text(c);
  for (size_t i = 0; i < text.size(); ++i) {
    const char ch = text[i];
    if ((ch == '{' || ch == '}') && i + 1 < text.size() && text[i + 1] == ch) {
      out += ch;
      ++i;
      continue;
    }
    if (ch == '}') return c.in.fail("a single '}' in a format");
    if (ch != '{') {
      out += ch;
      continue;
    }
    const size_t end = text.find('}', i);
    if (end == std::string_view::npos) return c.in.fail("a '{' of a format is not closed");
    const std::string_view field = text.substr(i + 1, end - i - 1);
    i = end;
    const Value* value = nullptr;
    const bool digits =
        std::all_of(field.begin(), field.end(), [](char d) { return d >= '0' && d <= '9'; });
    if (field.empty() || (digits && field.size() < 6)) {
      const size_t index =
          field.empty() ? next++ : static_cast<size_t>(std::stoul(std::string(field)));
      if (index < c.all->positional.size()) value = &c.all->positional[index];
    } else if (field.find_first_of("!:.[") != std::string_view::npos) {
      return c.in.fail(
          fmt::format("the format field '{{{}}}' is not supported; {{}}, {{0}} and {{name}} are",
                      field),
          StatusCode::kUnimplemented);
    } else {
      for (const auto& [name, named] : c.all->named) {
        if (name == field) value = &named;
      }
    }
    if (value == nullptr)
      return c.in.fail(fmt::format("the format field '{{{}}}' has no argument", field));
    out += c.in.str(*value);
    if (c.in.failed()) return {};
  }
  return c.in.text(std::move(out));
}

// --- list, dict, loop

Value list_index(Call& c) {
  const auto& items = c.self.list()->items;
  for (size_t i = 0; i < items.size(); ++i) {
    if (c.in.charge(1) && c.in.same(items[i], *c.arg(0))) return static_cast<int64_t>(i);
  }
  return c.in.fail("the value is not in the list");
}
Value list_count(Call& c) {
  const auto& items = c.self.list()->items;
  return static_cast<int64_t>(std::count_if(items.begin(), items.end(), [&](const Value& item) {
    return c.in.charge(1) && c.in.same(item, *c.arg(0));
  }));
}
Value items(Call& c) {
  std::vector<Value> pairs;
  for (const auto& [key, value] : c.self.dict()->entries) {
    pairs.push_back(Value::list({key, value}, ListKind::kTuple));
  }
  if (!c.in.charge(pairs.size())) return {};
  return Value::list(std::move(pairs));
}
Value keys(Call& c) {
  const auto all = c.in.iterate(c.self);
  if (c.in.failed()) return {};
  return Value::list(all->items);
}
Value values(Call& c) {
  std::vector<Value> out;
  for (const auto& [key, value] : c.self.dict()->entries) out.push_back(value);
  if (!c.in.charge(out.size())) return {};
  return Value::list(std::move(out));
}
Value get(Call& c) {
  if (!c.in.charge(c.self.dict()->entries.size() / 8)) return {};
  if (const Value* value = find(*c.self.dict(), *c.arg(0))) return *value;
  return c.arg(1) != nullptr ? *c.arg(1) : Value(None{});
}
Value copy(Call& c) { return c.self; }
Value cycle(Call& c) {
  if (c.all->positional.empty()) return c.in.fail("no items for cycling given");
  const Loop& loop = **c.self.get<std::shared_ptr<const Loop>>();
  return c.all->positional[loop.index % c.all->positional.size()];
}

constexpr Builtin kStringMethods[] = {
    {"capitalize", "", capitalize},
    {"center", "width,fillchar", center, 1},
    {"count", "sub", count_text, 1},
    {"endswith", "suffix", endswith, 1},
    {"find", "sub", find_text, 1},
    {"format", "*", format},
    {"index", "sub", index_text, 1},
    {"isalnum", "", all_of<python::CharClass::kAlnum>},
    {"isalpha", "", all_of<python::CharClass::kAlpha>},
    {"isdecimal", "", all_of<python::CharClass::kDigit>},
    {"isdigit", "", all_of<python::CharClass::kDigit>},
    {"islower", "", all_of<python::CharClass::kLower>},
    {"isnumeric", "", all_of<python::CharClass::kNumeric>},
    {"isspace", "", all_of<python::CharClass::kSpace>},
    {"isupper", "", all_of<python::CharClass::kUpper>},
    {"join", "iterable", join, 1},
    {"ljust", "width,fillchar", ljust, 1},
    {"lower", "", lower},
    {"lstrip", "chars", lstrip},
    {"partition", "sep", partition, 1},
    {"removeprefix", "prefix", removeprefix, 1},
    {"removesuffix", "suffix", removesuffix, 1},
    {"replace", "old,new,count", replace, 2},
    {"rfind", "sub", rfind_text, 1},
    {"rjust", "width,fillchar", rjust, 1},
    {"rpartition", "sep", rpartition, 1},
    {"rsplit", "sep,maxsplit", rsplit},
    {"rstrip", "chars", rstrip},
    {"split", "sep,maxsplit", split},
    {"splitlines", "keepends", splitlines},
    {"startswith", "prefix", startswith, 1},
    {"strip", "chars", strip},
    {"swapcase", "", swapcase},
    {"title", "", title},
    {"upper", "", upper},
    {"zfill", "width", zfill, 1},
};
constexpr Builtin kListMethods[] = {
    {"count", "value", list_count, 1},
    {"index", "value", list_index, 1},
    {"copy", "", copy},
};
constexpr Builtin kDictMethods[] = {
    {"copy", "", copy}, {"get", "key,default", get, 1}, {"items", "", items},
    {"keys", "", keys}, {"values", "", values},
};
constexpr Builtin kLoopMethods[] = {{"cycle", "*", cycle}};

const Builtin* find_in(std::span<const Builtin> table, std::string_view name) {
  const auto found =
      std::find_if(table.begin(), table.end(), [&](const Builtin& b) { return b.name == name; });
  return found == table.end() ? nullptr : &*found;
}

}  // namespace

const Builtin* find_method(const Value& self, std::string_view name) {
  if (self.str() != nullptr) return find_in(kStringMethods, name);
  if (self.list() != nullptr && self.list()->kind != ListKind::kGenerator)
    return find_in(kListMethods, name);
  if (self.dict() != nullptr) return find_in(kDictMethods, name);
  if (self.get<std::shared_ptr<const Loop>>() != nullptr) return find_in(kLoopMethods, name);
  return nullptr;
}

bool is_mutating_method(const Value& self, std::string_view name) {
  static constexpr std::string_view kList[] = {"append", "clear",  "extend",  "insert",
                                               "pop",    "remove", "reverse", "sort"};
  static constexpr std::string_view kDict[] = {"clear", "pop", "popitem", "setdefault", "update"};
  const auto in = [&](std::span<const std::string_view> names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (self.list() != nullptr && self.list()->kind == ListKind::kList) return in(kList);
  return self.dict() != nullptr && find(*self.dict(), name) == nullptr && in(kDict);
}

}  // namespace tutti::text::jinja
