// Runs a parsed template over one context. An error is kept and ends the render; until then
// evaluation goes on with undefined values, so that no step needs to hand errors up. *Thread:* one
// per render. *Invariants:* work, output and recursion are bounded by RenderLimits.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <ctime>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tutti/status.h"

#include "text/jinja_ast.h"
#include "text/jinja_builtins.h"

namespace tutti::text::jinja {

struct RenderLimits {
  // Evaluated nodes plus bytes of text made or searched / 64; published templates need thousands.
  uint64_t max_work = 50'000'000;
  uint64_t max_loop_iterations = 1'000'000;
  uint64_t max_output_bytes = uint64_t{64} << 20;
  // Bytes of all intermediate texts together.
  uint64_t max_text_bytes = uint64_t{512} << 20;
  int max_depth = 500;  // nested statements, expressions and macro calls
};

class Interpreter {
 public:
  Interpreter(RenderLimits limits, std::time_t now) : limits_(limits), now_(now) {}

  // `context` borrows from the caller for the call.
  Result<std::string> run(const Body& body,
                          const std::vector<std::pair<std::string_view, Value>>& context);

  // --- for builtins
  // Records the first error; the undefined value stands in for a result.
  Value fail(std::string message, StatusCode code = StatusCode::kInvalidArgument);
  bool failed() const { return error_.has_value(); }
  // False once the budget is used up or an error stands.
  bool charge(uint64_t work);
  bool charge_text(uint64_t bytes);
  // A new string; undefined when it would exceed the budget.
  Value text(std::string value);
  std::string str(const Value& value);
  // The items that a loop over `value` sees; null (and an error) when it is not iterable.
  std::shared_ptr<const List> iterate(const Value& value);
  Value attribute(const Value& object, std::string_view name);
  Value item(const Value& object, const Value& key);
  // "a.b.0" of map, selectattr and sort; `fallback` stands in wherever a step finds nothing.
  Value attribute_path(const Value& object, const Value& path, const Value* fallback = nullptr);
  Value call_builtin(const Builtin& builtin, const Value& self, const Arguments& arguments);
  bool less(const Value& a, const Value& b);
  bool same(const Value& a, const Value& b);
  bool contains(const Value& container, const Value& value);
  std::time_t now() const { return now_; }

 private:
  struct Scope {
    Scope* parent = nullptr;
    std::vector<std::pair<std::string_view, Value>> vars;
  };
  enum class Flow { kNext, kBreak, kContinue };
  // Counts one level of recursion; check ok() before going deeper.
  class Depth {
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

  Flow exec_body(const Body& body);
  Flow exec(const Stmt& stmt);
  Flow exec_if(const Stmt& stmt);
  Flow exec_for(const Stmt& stmt);
  std::shared_ptr<const List> loop_items(const Stmt& stmt);
  Flow exec_with(const Stmt& stmt);
  void exec_set_block(const Stmt& stmt);
  // What the body writes, run in a scope of its own.
  Value capture(const Body& body, Flow* flow = nullptr);
  void output(const Value& value);
  void output(std::string_view text);
  void assign(const Target& target, const Value& value);
  void set_var(std::string_view name, Value value);

  Value eval(const Expr& expr);
  Value eval_kind(const Expr& expr);
  Value eval_name(const Expr& expr);
  Value eval_list(const Expr& expr);
  Value eval_dict(const Expr& expr);
  Value eval_slice(const Expr& expr);
  Value eval_call(const Expr& expr);
  Value eval_filter(const Expr& expr, const Value* block_input);
  Value eval_test(const Expr& expr);
  Value eval_compare(const Expr& expr);
  Value eval_concat(const Expr& expr);
  Value eval_sign(const Expr& expr);
  Value eval_condition(const Expr& expr);
  Value binary(Op op, const Value& a, const Value& b);
  Value add(const Value& a, const Value& b);
  Value multiply(const Value& a, const Value& b);
  Value integer_op(Op op, int64_t a, int64_t b);
  Value float_op(Op op, double a, double b);
  bool compare_op(Op op, const Value& a, const Value& b);
  Arguments arguments(const Expr& expr);
  Value call(const Value& callee, const Arguments& arguments);
  Value call_macro(const Stmt& macro, const Arguments& arguments);
  Value call_function(Function function, const Arguments& arguments);
  Value make_range(const Arguments& arguments);
  Value make_dict(const Arguments& arguments, bool as_namespace);

  RenderLimits limits_;
  std::time_t now_;
  const std::vector<std::pair<std::string_view, Value>>* context_ = nullptr;
  Scope root_;
  Scope* scope_ = &root_;
  std::string* out_ = nullptr;
  std::deque<Namespace> namespaces_;
  std::optional<Status> error_;
  int line_ = 0;
  int depth_ = 0;
  uint64_t work_ = 0;
  uint64_t iterations_ = 0;
  uint64_t text_bytes_ = 0;
};

// "%s has %d" % (a, b), Python's old formatting, for the conversions s, r, d, i, f, x and %.
Value percent_format(Interpreter& in, std::string_view format, const Value& arguments);

}  // namespace tutti::text::jinja
