#include "text/jinja_interpreter.h"

#include <fmt/format.h>

#include "text/jinja_lexer.h"
#include "text/utf8.h"

namespace tutti::text::jinja {

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

}  // namespace tutti::text::jinja
