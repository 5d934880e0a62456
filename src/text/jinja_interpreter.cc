#include "text/jinja_interpreter.h"

#include <fmt/format.h>

#include <cmath>

#include "text/jinja_lexer.h"
#include "text/utf8.h"

namespace tutti::text::jinja {

// Counts one level of recursion; check ok() before going deeper.
class Interpreter::Depth {
 public:
  explicit Depth(Interpreter& in) : in_(in) {
    if (++in_.depth_ > in_.limits_.max_depth) {
      in_.fail(fmt::format("statements, expressions and macro calls nest deeper than {}",
                           in_.limits_.max_depth));
    }
  }
  ~Depth() { --in_.depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;
  bool ok() const { return !in_.failed(); }

 private:
  Interpreter& in_;
};

Result<std::string> Interpreter::run(
    const Body& body, const std::vector<std::pair<std::string_view, Value>>& context) {
  std::string out;
  out_ = &out;
  context_ = &context;
  exec_body(body);
  // Namespaces may name each other; they let go before they are destroyed.
  for (Namespace& ns : namespaces_) ns.vars.clear();
  if (error_) return *error_;
  return out;
}

Value Interpreter::fail(std::string message, StatusCode code) {
  if (!error_) error_ = template_error(code, line_, message);
  return {};
}

bool Interpreter::charge(uint64_t work) {
  work_ += std::min(work, limits_.max_work + 1);
  if (work_ > limits_.max_work)
    fail("rendering takes more work than is allowed", StatusCode::kResourceExhausted);
  return !failed();
}

bool Interpreter::charge_text(uint64_t bytes) {
  text_bytes_ += std::min(bytes, limits_.max_text_bytes + 1);
  if (text_bytes_ > limits_.max_text_bytes) {
    fail(fmt::format("rendering makes more than {} bytes of text", limits_.max_text_bytes),
         StatusCode::kResourceExhausted);
  }
  return !failed() && charge(bytes / 64);
}

Value Interpreter::text(std::string value) {
  if (!charge_text(value.size())) return {};
  return Value::string(std::move(value));
}

std::string Interpreter::str(const Value& value) {
  std::string out;
  // Escapes make a text at most a few times as long as what it shows.
  if (charge_text(value.weight())) append_str(out, value);
  return out;
}

std::shared_ptr<const List> Interpreter::iterate(const Value& value) {
  if (const auto* list = value.get<std::shared_ptr<const List>>()) return *list;
  std::vector<Value> items;
  if (const Dict* dict = value.dict()) {
    for (const auto& [key, item] : dict->entries) items.push_back(key);
  } else if (const Str* s = value.str()) {
    if (!charge(s->view.size())) return nullptr;
    for (size_t pos = 0; pos < s->view.size(); pos += utf8_length(s->view[pos])) {
      items.push_back(value.substr(pos, utf8_length(s->view[pos])));
    }
  } else if (!value.is_undefined()) {
    fail(fmt::format("'{}' object is not iterable", value.type_name()));
    return nullptr;
  }
  if (!charge(items.size())) return nullptr;
  return *Value::list(std::move(items)).get<std::shared_ptr<const List>>();
}

// --- statements

Interpreter::Flow Interpreter::exec_body(const Body& body) {
  for (const auto& stmt : body) {
    const Flow flow = exec(*stmt);
    if (flow != Flow::kNext || failed()) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::exec(const Stmt& stmt) {
  line_ = stmt.line;
  const Depth depth(*this);
  if (!depth.ok() || !charge(1)) return Flow::kNext;
  switch (stmt.kind) {
    case StmtKind::kText:
      output(stmt.text);
      break;
    case StmtKind::kOutput:
      output(eval(*stmt.expr));
      break;
    case StmtKind::kIf:
      return exec_if(stmt);
    case StmtKind::kFor:
      return exec_for(stmt);
    case StmtKind::kSet:
      assign(stmt.targets[0], eval(*stmt.expr));
      break;
    case StmtKind::kSetBlock:
      exec_set_block(stmt);
      break;
    case StmtKind::kMacro:
      set_var(stmt.text, Value(&stmt));
      break;
    case StmtKind::kWith:
      return exec_with(stmt);
    case StmtKind::kFilterBlock: {
      Flow flow = Flow::kNext;
      const Value input = capture(stmt.body, &flow);
      output(eval_filter(*stmt.expr, &input));
      return flow;
    }
    case StmtKind::kScope: {
      Flow flow = Flow::kNext;
      output(capture(stmt.body, &flow));
      return flow;
    }
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::exec_if(const Stmt& stmt) {
  for (const Stmt::Branch& branch : stmt.branches) {
    if (branch.test == nullptr || eval(*branch.test).truthy())
      return failed() ? Flow::kNext : exec_body(branch.body);
  }
  return Flow::kNext;
}

std::shared_ptr<const List> Interpreter::loop_items(const Stmt& stmt) {
  std::shared_ptr<const List> all = iterate(eval(*stmt.expr));
  if (failed() || stmt.filter == nullptr) return all;
  std::vector<Value> kept;
  for (const Value& item : all->items) {
    Scope scope{scope_, {}};
    scope_ = &scope;
    assign(stmt.targets[0], item);
    if (eval(*stmt.filter).truthy()) kept.push_back(item);
    scope_ = scope.parent;
    if (failed()) return nullptr;
  }
  return *Value::list(std::move(kept)).get<std::shared_ptr<const List>>();
}

Interpreter::Flow Interpreter::exec_for(const Stmt& stmt) {
  const std::shared_ptr<const List> items = loop_items(stmt);
  if (failed()) return Flow::kNext;
  if (items->items.empty()) return exec_body(stmt.else_body);
  auto loop = std::make_shared<Loop>();
  loop->items = items;
  for (size_t i = 0; i < items->items.size(); ++i) {
    if (++iterations_ > limits_.max_loop_iterations) {
      fail(fmt::format("loops run for more than {} rounds together", limits_.max_loop_iterations),
           StatusCode::kResourceExhausted);
    }
    if (failed()) break;
    loop->index = i;
    // A fresh scope each round: what the body sets is gone in the next one.
    Scope scope{scope_, {}};
    scope_ = &scope;
    set_var("loop", Value(std::shared_ptr<const Loop>(loop)));
    assign(stmt.targets[0], items->items[i]);
    const Flow flow = failed() ? Flow::kBreak : exec_body(stmt.body);
    scope_ = scope.parent;
    if (flow == Flow::kBreak) break;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::exec_with(const Stmt& stmt) {
  // The values see the scope outside, not each other.
  std::vector<Value> values;
  for (const ExprPtr& value : stmt.values) values.push_back(eval(*value));
  Scope scope{scope_, {}};
  scope_ = &scope;
  for (size_t i = 0; i < values.size(); ++i) assign(stmt.targets[i], values[i]);
  const Flow flow = exec_body(stmt.body);
  scope_ = scope.parent;
  return flow;
}

Value Interpreter::capture(const Body& body, Flow* flow) {
  std::string captured;
  std::string* const outer = std::exchange(out_, &captured);
  Scope scope{scope_, {}};
  scope_ = &scope;
  const Flow ended = exec_body(body);
  if (flow != nullptr) *flow = ended;
  scope_ = scope.parent;
  out_ = outer;
  return text(std::move(captured));
}

void Interpreter::exec_set_block(const Stmt& stmt) {
  Value value = capture(stmt.body);
  if (stmt.expr != nullptr) {
    // The innermost filter of the chain has no input of its own: the block is.
    value = eval_filter(*stmt.expr, &value);
  }
  assign(stmt.targets[0], value);
}

void Interpreter::output(std::string_view piece) {
  if (failed()) return;
  if (out_->size() + piece.size() > limits_.max_output_bytes) {
    fail(fmt::format("the text becomes longer than {} bytes", limits_.max_output_bytes),
         StatusCode::kResourceExhausted);
    return;
  }
  *out_ += piece;
}

void Interpreter::output(const Value& value) {
  if (failed()) return;
  if (const Str* s = value.str()) {
    output(s->view);
  } else {
    output(str(value));
  }
}

void Interpreter::set_var(std::string_view name, Value value) {
  for (auto& [known, slot] : scope_->vars) {
    if (known == name) {
      slot = std::move(value);
      return;
    }
  }
  scope_->vars.emplace_back(name, std::move(value));
}

void Interpreter::assign(const Target& target, const Value& value) {
  if (failed()) return;
  switch (target.kind) {
    case Target::Kind::kName:
      set_var(target.name, value);
      return;
    case Target::Kind::kTuple: {
      const std::shared_ptr<const List> items = iterate(value);
      if (failed()) return;
      if (items->items.size() != target.items.size()) {
        fail(fmt::format("{} values cannot be unpacked into {} names", items->items.size(),
                         target.items.size()));
        return;
      }
      for (size_t i = 0; i < target.items.size(); ++i) assign(target.items[i], items->items[i]);
      return;
    }
    case Target::Kind::kNamespaceAttr: {
      Expr name;
      name.name = target.name;
      const Value object = eval_name(name);
      Namespace* const* ns = object.get<Namespace*>();
      if (ns == nullptr) {
        fail(fmt::format("'{}' is no namespace, so '{}.{}' cannot be set", target.name, target.name,
                         target.attr));
        return;
      }
      for (auto& [known, slot] : (*ns)->vars) {
        if (known == target.attr) {
          slot = value;
          return;
        }
      }
      (*ns)->vars.emplace_back(target.attr, value);
      return;
    }
  }
}

// --- expressions

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

namespace {
void put(std::vector<std::pair<Value, Value>>& entries, Value key, Value value) {
  for (auto& [known, slot] : entries) {
    if (equals(known, key)) {
      slot = std::move(value);
      return;
    }
  }
  entries.emplace_back(std::move(key), std::move(value));
}
}  // namespace

Value Interpreter::eval_dict(const Expr& expr) {
  std::vector<std::pair<Value, Value>> entries;
  for (size_t i = 0; i + 1 < expr.args.size(); i += 2) {
    Value key = eval(*expr.args[i]);
    if (key.dict() != nullptr || (key.list() != nullptr && key.list()->kind != ListKind::kTuple)) {
      return fail(fmt::format("a '{}' cannot be a key of a dict", key.type_name()));
    }
    if (!charge(key.weight() / 64 + entries.size())) return {};
    Value value = eval(*expr.args[i + 1]);
    put(entries, std::move(key), std::move(value));
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

// --- operators

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

// --- calls

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
      for (const auto& [key, value] : dict->entries) put(entries, key, value);
      if (!charge(dict->entries.size() * dict->entries.size() / 8)) return {};
      continue;
    }
    const std::shared_ptr<const List> pairs = iterate(source);
    if (failed()) return {};
    for (const Value& pair : pairs->items) {
      if (pair.list() == nullptr || pair.list()->items.size() != 2)
        return fail("dict and namespace take mappings or pairs");
      if (!charge(1 + entries.size() / 8)) return {};
      put(entries, pair.list()->items[0], pair.list()->items[1]);
    }
  }
  for (const auto& [name, value] : arguments.named) put(entries, Value::borrowed(name), value);
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
