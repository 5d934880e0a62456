// The filters of chat templates, after Jinja's own (jinja2.filters) and Hugging Face's tojson.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "text/jinja_interpreter.h"
#include "text/python_text.h"
#include "text/utf8.h"

namespace tutti::text::jinja {

int64_t Call::int_arg(size_t index, int64_t fallback) {
  const Value* value = arg(index);
  if (value == nullptr || value->is_none()) return fallback;
  if (!value->is_integer())
    in.fail(fmt::format("argument {} of '{}' is a '{}', not an integer", index + 1, name,
                        value->type_name()));
  return value->to_int();
}

bool Call::bool_arg(size_t index, bool fallback) const {
  const Value* value = arg(index);
  return value == nullptr ? fallback : value->truthy();
}

std::string_view Call::str_arg(size_t index, std::string_view fallback) {
  const Value* value = arg(index);
  if (value == nullptr || value->is_none()) return fallback;
  if (value->str() == nullptr) {
    in.fail(fmt::format("argument {} of '{}' is a '{}', not a string", index + 1, name,
                        value->type_name()));
    return fallback;
  }
  return value->str()->view;
}

namespace {

// --- text

Value trim(Call& c) {
  // Keeps sharing the string's bytes where it is one.
  const Value text = c.self.str() != nullptr ? c.self : c.in.text(c.in.str(c.self));
  if (text.str() == nullptr) return {};
  const std::string_view chars = c.str_arg(0, "");
  const bool any_space = c.arg(0) == nullptr || c.arg(0)->is_none();
  if (!c.in.charge(chars.size() / 8 + text.str()->view.size() / 64)) return {};
  const std::string_view kept =
      python::strip(text.str()->view, any_space ? nullptr : &chars, true, true);
  return text.substr(static_cast<size_t>(kept.data() - text.str()->view.data()), kept.size());
}
Value upper(Call& c) { return c.in.text(python::upper(c.in.str(c.self))); }
Value lower(Call& c) { return c.in.text(python::lower(c.in.str(c.self))); }
Value capitalize(Call& c) { return c.in.text(python::capitalize(c.in.str(c.self))); }
Value title(Call& c) {
  // Jinja's own words: split at - ( { [ < and white space, unlike str.title.
  const std::string text = c.in.str(c.self);
  std::string out;
  size_t begin = 0;
  const auto word_ends = [&](size_t end) {
    out += python::capitalize(std::string_view(text).substr(begin, end - begin));
    begin = end;
  };
  for (size_t pos = 0; pos < text.size(); pos += utf8_length(text[pos])) {
    if (std::string_view("-({[<").find(text[pos]) != std::string_view::npos ||
        is_white_space(utf8_at(text, pos), true)) {
      word_ends(pos);
      begin = pos + utf8_length(text[pos]);
      out += std::string_view(text).substr(pos, begin - pos);
    }
  }
  word_ends(text.size());
  return c.in.text(std::move(out));
}
Value string(Call& c) { return c.self.str() != nullptr ? c.self : c.in.text(c.in.str(c.self)); }
Value safe(Call& c) { return string(c); }
Value replace(Call& c) {
  const std::string from = c.in.str(*c.arg(0));
  const std::string to = c.in.str(*c.arg(1));
  const std::string text = c.in.str(c.self);
  const int64_t max = c.int_arg(2, -1);
  // The result is bounded before it is made.
  const uint64_t places = from.empty() ? text.size() + 1 : text.size() / from.size();
  if (!c.in.charge_text(text.size()) || (to.size() > from.size() && !c.in.charge(places)))
    return {};
  uint64_t found = 0;
  if (to.size() > 64) {
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos && !from.empty();
         at += from.size())
      ++found;
    if (!c.in.charge_text((from.empty() ? places : found) * to.size())) return {};
  }
  return c.in.text(python::replace(text, from, to, max));
}
Value escape(Call& c) {
  std::string out;
  for (const char ch : c.in.str(c.self)) {
    switch (ch) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += ch;
    }
  }
  return c.in.text(std::move(out));
}
Value indent(Call& c) {
  if (c.self.str() == nullptr) return c.in.fail("the filter 'indent' takes a string");
  std::string indention;
  if (c.arg(0) != nullptr && c.arg(0)->str() != nullptr) {
    indention = c.arg(0)->str()->view;
  } else {
    const int64_t width = c.int_arg(0, 4);
    if (width > 0 && c.in.charge_text(static_cast<uint64_t>(width)))
      indention.assign(static_cast<size_t>(width), ' ');
  }
  const bool first = c.bool_arg(1, false);
  const bool blank = c.bool_arg(2, false);
  const std::string text = c.in.str(c.self) + "\n";  // as Jinja does, for a last line's sake
  const auto breaks = static_cast<uint64_t>(std::count(text.begin(), text.end(), '\n'));
  if (!c.in.charge_text(breaks * indention.size())) return {};
  std::vector<std::string_view> lines = python::split_lines(text, false);
  std::string out;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    if (i == 0 ? first : (blank || !lines[i].empty())) out += indention;
    out += lines[i];
  }
  return c.in.text(std::move(out));
}
Value wordcount(Call& c) {
  // Runs of \w.
  int64_t count = 0;
  bool in_word = false;
  const std::string text = c.in.str(c.self);
  for (size_t pos = 0; pos < text.size(); pos += utf8_length(text[pos])) {
    const std::string_view one = std::string_view(text).substr(pos, utf8_length(text[pos]));
    const bool word = one == "_" || python::all_of_class(one, python::CharClass::kAlnum);
    count += word && !in_word;
    in_word = word;
  }
  return count;
}
Value format(Call& c) {
  if (c.self.str() == nullptr) return c.in.fail("the filter 'format' formats strings");
  return percent_format(c.in, c.self.str()->view, Value::list(c.all->positional, ListKind::kTuple));
}

Value tojson(Call& c) {
  JsonStyle style;
  style.ensure_ascii = c.bool_arg(1, false);
  style.sort_keys = c.bool_arg(3, false);
  if (const Value* indent = c.arg(0); indent != nullptr && !indent->is_none()) {
    style.multiline = true;
    style.item_separator = ",";
    if (indent->str() != nullptr) {
      style.indent = indent->str()->view;
    } else {
      const int64_t width = c.int_arg(0, 0);
      if (width > 64) return c.in.fail("tojson takes an indent of at most 64");
      style.indent.assign(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
    }
  }
  if (const Value* separators = c.arg(2); separators != nullptr && !separators->is_none()) {
    const List* pair = separators->list();
    if (pair == nullptr || pair->items.size() != 2 || pair->items[0].str() == nullptr ||
        pair->items[1].str() == nullptr) {
      return c.in.fail("the separators of tojson are two strings");
    }
    style.item_separator = pair->items[0].str()->view;
    style.key_separator = pair->items[1].str()->view;
  }
  // Every node may stand on a line of its own with its indent.
  const uint64_t per_node = style.indent.size() * static_cast<uint64_t>(c.self.depth()) +
                            style.item_separator.size() + style.key_separator.size();
  const uint64_t nodes = c.self.weight();
  if (!c.in.charge_text(nodes) ||
      (per_node > 64 && !c.in.charge_text(nodes * std::min<uint64_t>(per_node, 1 << 20))))
    return {};
  std::string out;
  std::string_view bad_type;
  if (!append_json(out, c.self, style, bad_type)) {
    return c.in.fail(fmt::format("a value of type '{}' is not JSON serializable", bad_type));
  }
  return c.in.text(std::move(out));
}

// --- numbers

// int() and float() of an undefined value fail, whatever the default.
bool undefined_number(Call& c) {
  const auto* undefined = c.self.get<Undefined>();
  if (undefined != nullptr)
    c.in.fail(undefined->reason ? *undefined->reason : "an undefined value is no number");
  return undefined != nullptr;
}

Value to_int(Call& c) {
  if (undefined_number(c)) return {};
  const Value fallback = c.arg(0) != nullptr ? *c.arg(0) : Value(int64_t{0});
  const int64_t base = c.int_arg(1, 10);
  if (c.self.is_integer())
    return c.self.get<uint64_t>() != nullptr ? c.self : Value(c.self.to_int());
  double number = 0;
  if (const Str* s = c.self.str()) {
    std::string text(python::strip(s->view, nullptr, true, true));
    std::erase(text, '_');
    std::string_view digits = text;
    if (digits.starts_with('+')) digits.remove_prefix(1);
    if (base == 16 && (digits.starts_with("0x") || digits.starts_with("0X")))
      digits.remove_prefix(2);
    int64_t value = 0;
    if (base < 2 || base > 36) return fallback;
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value,
                                        static_cast<int>(base));
    if (result.ec == std::errc() && result.ptr == digits.data() + digits.size() && !digits.empty())
      return value;
    const auto real = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (real.ec != std::errc() || real.ptr != digits.data() + digits.size()) return fallback;
  } else if (const double* d = c.self.get<double>()) {
    number = *d;
  } else {
    return fallback;
  }
  if (!(std::abs(number) < 9.2e18)) return fallback;
  return static_cast<int64_t>(number);
}

Value to_float(Call& c) {
  if (undefined_number(c)) return {};
  const Value fallback = c.arg(0) != nullptr ? *c.arg(0) : Value(0.0);
  if (c.self.is_number()) return c.self.to_double();
  if (const Str* s = c.self.str()) {
    std::string_view text = python::strip(s->view, nullptr, true, true);
    if (text.starts_with('+')) text.remove_prefix(1);
    double value = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
    if (result.ec == std::errc() && result.ptr == text.data() + text.size() && !text.empty())
      return value;
  }
  return fallback;
}

Value abs(Call& c) {
  if (!c.self.is_number())
    return c.in.fail(
        fmt::format("the filter 'abs' takes a number, not a '{}'", c.self.type_name()));
  if (c.self.get<double>() != nullptr) return std::abs(c.self.to_double());
  if (c.self.to_int() == INT64_MIN) return c.in.fail("an integer leaves the range of 64 bits");
  return std::abs(c.self.to_int());
}

Value round(Call& c) {
  const std::string_view method = c.str_arg(1, "common");
  const int64_t precision = c.int_arg(0, 0);
  if (!c.self.is_number())
    return c.in.fail(
        fmt::format("the filter 'round' takes a number, not a '{}'", c.self.type_name()));
  if (c.self.is_integer() && method == "common" && precision >= 0) return c.self.to_int();
  const double value = c.self.to_double();
  const double scale =
      std::pow(10.0, static_cast<double>(std::clamp<int64_t>(precision, -300, 300)));
  if (method == "ceil") return std::ceil(value * scale) / scale;
  if (method == "floor") return std::floor(value * scale) / scale;
  if (method != "common")
    return c.in.fail("the filter 'round' knows the methods common, ceil and floor");
  if (precision < 0) {
    const double rounded = std::nearbyint(value * scale) / scale;
    if (c.self.is_integer()) return static_cast<int64_t>(rounded);
    return rounded;
  }
  // Python rounds the exact decimal value, half to even: so does printing with that precision.
  return std::strtod(fmt::format("{:.{}f}", value, std::min<int64_t>(precision, 300)).c_str(),
                     nullptr);
}

// --- sequences

Value length(Call& c) {
  if (const Str* s = c.self.str()) return static_cast<int64_t>(utf8_count(s->view));
  if (const Dict* d = c.self.dict()) return static_cast<int64_t>(d->entries.size());
  if (const List* l = c.self.list(); l != nullptr && l->kind != ListKind::kGenerator)
    return static_cast<int64_t>(l->items.size());
  if (c.self.is_undefined()) return int64_t{0};
  return c.in.fail(fmt::format("object of type '{}' has no length", c.self.type_name()));
}

Value first(Call& c) {
  const auto items = c.in.iterate(c.self);
  if (c.in.failed()) return {};
  return items->items.empty() ? Value::undefined("no first item, the sequence was empty")
                              : items->items.front();
}
Value last(Call& c) {
  const auto items = c.in.iterate(c.self);
  if (c.in.failed()) return {};
  return items->items.empty() ? Value::undefined("no last item, the sequence was empty")
                              : items->items.back();
}
Value to_list(Call& c) {
  const auto items = c.in.iterate(c.self);
  if (c.in.failed()) return {};
  return Value::list(items->items);
}
Value items(Call& c) {
  if (c.self.is_undefined()) return Value::list({}, ListKind::kGenerator);
  const Dict* dict = c.self.dict();
  if (dict == nullptr) return c.in.fail("can only get item pairs from a mapping");
  if (!c.in.charge(dict->entries.size())) return {};
  std::vector<Value> pairs;
  for (const auto& [key, value] : dict->entries)
    pairs.push_back(Value::list({key, value}, ListKind::kTuple));
  return Value::list(std::move(pairs), ListKind::kGenerator);
}
Value reverse(Call& c) {
  const auto all = c.in.iterate(c.self);
  if (c.in.failed()) return {};
  if (c.self.str() != nullptr) {
    std::string out;
    for (size_t i = all->items.size(); i-- > 0;) out += all->items[i].str()->view;
    return c.in.text(std::move(out));
  }
  return Value::list({all->items.rbegin(), all->items.rend()}, ListKind::kGenerator);
}
Value join(Call& c) {
  const std::string separator = c.arg(0) != nullptr ? c.in.str(*c.arg(0)) : "";
  const auto all = c.in.iterate(c.self);
  if (c.in.failed() || !c.in.charge_text(all->items.size() * separator.size())) return {};
  std::string out;
  for (size_t i = 0; i < all->items.size(); ++i) {
    if (i > 0) out += separator;
    out += c.in.str(c.arg(1) != nullptr ? c.in.attribute_path(all->items[i], *c.arg(1))
                                        : all->items[i]);
    if (c.in.failed()) return {};
  }
  return c.in.text(std::move(out));
}

// What sorting and uniqueness look at: strings without case unless asked.
Value sort_key(Call& c, const Value& item, bool case_sensitive, const Value* attribute) {
  Value key =
      attribute != nullptr && !attribute->is_none() ? c.in.attribute_path(item, *attribute) : item;
  if (!case_sensitive && key.str() != nullptr) return c.in.text(python::lower(key.str()->view));
  return key;
}

std::vector<Value> sorted(Call& c, const std::vector<Value>& items, bool case_sensitive,
                          const Value* attribute, bool descending) {
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : items)
    keyed.emplace_back(sort_key(c, item, case_sensitive, attribute), item);
  // Insertion by binary search: stays in bounds even when items cannot be ordered.
  std::vector<std::pair<Value, Value>> done;
  for (auto& entry : keyed) {
    size_t low = 0;
    size_t high = done.size();
    while (low < high && !c.in.failed()) {
      const size_t middle = (low + high) / 2;
      const bool before = descending ? c.in.less(done[middle].first, entry.first)
                                     : c.in.less(entry.first, done[middle].first);
      before ? high = middle : low = middle + 1;
    }
    if (c.in.failed() || !c.in.charge((done.size() - low) / 8 + 1)) return {};
    done.insert(done.begin() + static_cast<ptrdiff_t>(low), std::move(entry));
  }
  std::vector<Value> out;
  for (auto& entry : done) out.push_back(std::move(entry.second));
  return out;
}

Value sort(Call& c) {
  const auto all = c.in.iterate(c.self);
  if (c.in.failed()) return {};
  return Value::list(sorted(c, all->items, c.bool_arg(1, false), c.arg(2), c.bool_arg(0, false)));
}
Value dictsort(Call& c) {
  const Value pairs = items(c);
  const std::string_view by = c.str_arg(1, "key");
  if (by != "key" && by != "value") return c.in.fail("the filter 'dictsort' sorts by key or value");
  if (c.in.failed()) return {};
  const Value index = int64_t{by == "key" ? 0 : 1};
  return Value::list(
      sorted(c, pairs.list()->items, c.bool_arg(0, false), &index, c.bool_arg(2, false)));
}
Value unique(Call& c) {
  const auto all = c.in.iterate(c.self);
  if (c.in.failed()) return {};
  std::vector<Value> keys;
  std::vector<Value> kept;
  for (const Value& item : all->items) {
    Value key = sort_key(c, item, c.bool_arg(0, false), c.arg(1));
    const bool known = std::any_of(keys.begin(), keys.end(), [&](const Value& other) {
      return c.in.charge(1) && c.in.same(other, key);
    });
    if (c.in.failed()) return {};
    if (known) continue;
    keys.push_back(std::move(key));
    kept.push_back(item);
  }
  return Value::list(std::move(kept), ListKind::kGenerator);
}
Value extreme(Call& c, bool largest) {
  const auto all = c.in.iterate(c.self);
  if (c.in.failed()) return {};
  if (all->items.empty()) return Value::undefined("no aggregated item, the sequence was empty");
  size_t best = 0;
  Value best_key = sort_key(c, all->items[0], c.bool_arg(0, false), c.arg(1));
  for (size_t i = 1; i < all->items.size() && !c.in.failed(); ++i) {
    Value key = sort_key(c, all->items[i], c.bool_arg(0, false), c.arg(1));
    if (largest ? c.in.less(best_key, key) : c.in.less(key, best_key)) {
      best = i;
      best_key = std::move(key);
    }
  }
  return all->items[best];
}
Value min(Call& c) { return extreme(c, false); }
Value max(Call& c) { return extreme(c, true); }
Value sum(Call& c) {
  const auto all = c.in.iterate(c.self);
  if (c.in.failed()) return {};
  Value total = c.arg(1) != nullptr ? *c.arg(1) : Value(int64_t{0});
  for (const Value& item : all->items) {
    const Value value =
        c.arg(0) != nullptr && !c.arg(0)->is_none() ? c.in.attribute_path(item, *c.arg(0)) : item;
    if (!value.is_number() || !total.is_number())
      return c.in.fail(fmt::format("the filter 'sum' adds numbers, not a '{}'", value.type_name()));
    int64_t next = 0;
    if (value.is_integer() && total.is_integer()) {
      if (__builtin_add_overflow(total.to_int(), value.to_int(), &next))
        return c.in.fail("an integer leaves the range of 64 bits");
      total = next;
    } else {
      total = total.to_double() + value.to_double();
    }
  }
  return total;
}

// The arguments behind the first `skip`, for a filter or test that another one applies.
Arguments rest_of(const Arguments& all, size_t skip) {
  Arguments rest;
  for (size_t i = skip; i < all.positional.size(); ++i)
    rest.positional.push_back(all.positional[i]);
  rest.named = all.named;
  return rest;
}

const Value* named(const Arguments& all, std::string_view name) {
  for (const auto& [known, value] : all.named) {
    if (known == name) return &value;
  }
  return nullptr;
}

Value map(Call& c) {
  const auto all = c.in.iterate(c.self);
  if (c.in.failed()) return {};
  std::vector<Value> out;
  const Arguments& args = *c.all;
  if (args.positional.empty()) {
    const Value* attribute = named(args, "attribute");
    const Value* fallback = named(args, "default");
    if (attribute == nullptr)
      return c.in.fail("the filter 'map' takes a filter name or attribute=");
    for (const Value& item : all->items) {
      out.push_back(c.in.attribute_path(item, *attribute, fallback));
      if (c.in.failed()) return {};
    }
    return Value::list(std::move(out), ListKind::kGenerator);
  }
  const Str* name = args.positional[0].str();
  const Builtin* filter = name == nullptr ? nullptr : find_filter(name->view);
  if (filter == nullptr)
    return c.in.fail("the filter 'map' names a filter that is not supported",
                     StatusCode::kUnimplemented);
  const Arguments rest = rest_of(args, 1);
  for (const Value& item : all->items) {
    out.push_back(c.in.call_builtin(*filter, item, rest));
    if (c.in.failed()) return {};
  }
  Value mapped = Value::list(std::move(out), ListKind::kGenerator);
  if (mapped.depth() > Value::kMaxDepth)
    return c.in.fail(fmt::format("values nest deeper than {}", Value::kMaxDepth));
  return mapped;
}

Value select_items(Call& c, bool by_attribute, bool wanted) {
  const Arguments& args = *c.all;
  const size_t test_at = by_attribute ? 1 : 0;
  if (by_attribute && args.positional.empty())
    return c.in.fail(fmt::format("the filter '{}' names no attribute", c.name));
  const Builtin* test = nullptr;
  if (args.positional.size() > test_at) {
    const Str* name = args.positional[test_at].str();
    test = name == nullptr ? nullptr : find_test(name->view);
    if (test == nullptr)
      return c.in.fail(fmt::format("the filter '{}' names a test that is not supported", c.name),
                       StatusCode::kUnimplemented);
  }
  const Arguments rest = rest_of(args, test_at + 1);
  const auto all = c.in.iterate(c.self);
  if (c.in.failed()) return {};
  std::vector<Value> kept;
  for (const Value& item : all->items) {
    const Value value = by_attribute ? c.in.attribute_path(item, args.positional[0]) : item;
    const bool passes = (test == nullptr ? value : c.in.call_builtin(*test, value, rest)).truthy();
    if (c.in.failed()) return {};
    if (passes == wanted) kept.push_back(item);
  }
  return Value::list(std::move(kept), ListKind::kGenerator);
}
Value select(Call& c) { return select_items(c, false, true); }
Value reject(Call& c) { return select_items(c, false, false); }
Value selectattr(Call& c) { return select_items(c, true, true); }
Value rejectattr(Call& c) { return select_items(c, true, false); }

Value default_value(Call& c) {
  const bool replace = c.self.is_undefined() || (c.bool_arg(1, false) && !c.self.truthy());
  if (!replace) return c.self;
  return c.arg(0) != nullptr ? *c.arg(0) : Value::borrowed("");
}
Value attr(Call& c) {
  // Attributes only, no items: of a dict, its methods.
  const std::string_view name = c.str_arg(0, "");
  if (c.self.dict() != nullptr && find_method(c.self, name) == nullptr) {
    return Value::undefined(fmt::format("'dict object' has no attribute '{}'", name));
  }
  return c.in.attribute(c.self, name);
}

constexpr Builtin kFilters[] = {
    {"abs", "", abs},
    {"attr", "name", attr, 1},
    {"capitalize", "", capitalize},
    {"count", "", length},
    {"d", "default_value,boolean", default_value},
    {"default", "default_value,boolean", default_value},
    {"dictsort", "case_sensitive,by,reverse", dictsort},
    {"e", "", escape},
    {"escape", "", escape},
    {"first", "", first},
    {"float", "default", to_float},
    {"format", "*", format},
    {"indent", "width,first,blank", indent},
    {"int", "default,base", to_int},
    {"items", "", items},
    {"join", "d,attribute", join},
    {"last", "", last},
    {"length", "", length},
    {"list", "", to_list},
    {"lower", "", lower},
    {"map", "*", map},
    {"max", "case_sensitive,attribute", max},
    {"min", "case_sensitive,attribute", min},
    {"reject", "*", reject},
    {"rejectattr", "*", rejectattr},
    {"replace", "old,new,count", replace, 2},
    {"reverse", "", reverse},
    {"round", "precision,method", round},
    {"safe", "", safe},
    {"select", "*", select},
    {"selectattr", "*", selectattr},
    {"sort", "reverse,case_sensitive,attribute", sort},
    {"string", "", string},
    {"sum", "attribute,start", sum},
    {"title", "", title},
    {"tojson", "indent,ensure_ascii,separators,sort_keys", tojson},
    {"trim", "chars", trim},
    {"unique", "case_sensitive,attribute", unique},
    {"upper", "", upper},
    {"wordcount", "", wordcount},
};

}  // namespace

const Builtin* find_filter(std::string_view name) {
  const auto found = std::find_if(std::begin(kFilters), std::end(kFilters),
                                  [&](const Builtin& b) { return b.name == name; });
  return found == std::end(kFilters) ? nullptr : found;
}

Value percent_format(Interpreter& in, std::string_view format, const Value& arguments) {
  const List* list = arguments.list();
  const bool tuple = list != nullptr && list->kind == ListKind::kTuple;
  size_t used = 0;
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      out += format[i];
      continue;
    }
    std::string flags;
    std::string width;
    std::string precision;
    for (++i;
         i < format.size() && std::string_view("-+ 0#").find(format[i]) != std::string_view::npos;
         ++i)
      flags += format[i];
    for (; i < format.size() && format[i] >= '0' && format[i] <= '9'; ++i) width += format[i];
    if (i < format.size() && format[i] == '.') {
      for (++i; i < format.size() && format[i] >= '0' && format[i] <= '9'; ++i)
        precision += format[i];
      if (precision.empty()) precision = "0";
    }
    if (i >= format.size()) return in.fail("a format ends after '%'");
    const char kind = format[i];
    if (kind == '%') {
      out += '%';
      continue;
    }
    if (width.size() > 4 || precision.size() > 3)
      return in.fail("a format's width or precision is too large");
    if (std::string_view("srdifx").find(kind) == std::string_view::npos) {
      return in.fail(fmt::format("the format conversion '%{}' is not supported",
                                 format.substr(i, utf8_length(kind))),
                     StatusCode::kUnimplemented);
    }
    if (tuple ? used >= list->items.size() : used >= 1)
      return in.fail("a format has more conversions than arguments");
    const Value& value = tuple ? list->items[used] : arguments;
    ++used;
    std::string piece;
    if (kind == 's' || kind == 'r') {
      if (!in.charge_text(value.weight())) return {};
      kind == 's' ? append_str(piece, value) : append_repr(piece, value);
      if (!precision.empty()) {
        size_t end = 0;
        for (int left = std::stoi(precision); left > 0 && end < piece.size(); --left)
          end += utf8_length(piece[end]);
        piece.resize(end);
      }
    } else if (!value.is_number()) {
      return in.fail(fmt::format("'%{}' formats a number, not a '{}'", kind, value.type_name()));
    } else if (kind == 'f') {
      piece =
          fmt::format("{:.{}f}", value.to_double(), precision.empty() ? 6 : std::stoi(precision));
    } else {
      const int64_t number =
          value.get<double>() != nullptr
              ? static_cast<int64_t>(std::clamp(value.to_double(), -9.2e18, 9.2e18))
              : value.to_int();
      piece = kind == 'x' ? fmt::format("{:x}", number) : std::to_string(number);
    }
    const bool numeric = kind != 's' && kind != 'r';
    if (numeric && !piece.starts_with('-')) {
      if (flags.find('+') != std::string::npos)
        piece.insert(0, "+");
      else if (flags.find(' ') != std::string::npos)
        piece.insert(0, " ");
    }
    const size_t wanted = width.empty() ? 0 : static_cast<size_t>(std::stoi(width));
    const size_t have = utf8_count(piece);
    if (have < wanted) {
      const std::string fill(wanted - have, ' ');
      if (flags.find('-') != std::string::npos) {
        piece += fill;
      } else if (numeric && flags.find('0') != std::string::npos) {
        piece.insert(piece[0] == '-' || piece[0] == '+' || piece[0] == ' ' ? 1 : 0,
                     std::string(wanted - have, '0'));
      } else {
        piece.insert(0, fill);
      }
    }
    out += piece;
  }
  // A list or dict may go unused, as in Python.
  const bool needs_use = tuple || (list == nullptr && arguments.dict() == nullptr);
  if (needs_use && used < (tuple ? list->items.size() : 1)) {
    return in.fail("a format has fewer conversions than arguments");
  }
  return in.text(std::move(out));
}

}  // namespace tutti::text::jinja
