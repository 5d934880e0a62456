#include "text/jinja_parser.h"

#include <fmt/format.h>

#include <charconv>
#include <initializer_list>

#include "text/jinja_builtins.h"
#include "text/jinja_lexer.h"

namespace tutti::text::jinja {

namespace {

// Trees deeper than any template is; they keep recursion over them within a thread's stack.
constexpr int kMaxExprDepth = 150;
constexpr int kMaxBlockDepth = 40;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Result<Body> run() {
    Body body;
    TUTTI_RETURN_IF_ERROR(parse_body(body, {}));
    return body;
  }

 private:
  using StmtPtr = std::unique_ptr<Stmt>;
  using MutableExpr = std::unique_ptr<Expr>;

  // --- tokens
  const Token& peek(size_t ahead = 0) const {
    return tokens_[std::min(pos_ + ahead, tokens_.size() - 1)];
  }
  const Token& next() {
    const Token& token = peek();
    if (pos_ + 1 < tokens_.size()) ++pos_;
    return token;
  }
  bool is(TokenKind kind, std::string_view text, size_t ahead = 0) const {
    return peek(ahead).kind == kind && peek(ahead).text == text;
  }
  bool is_op(std::string_view op, size_t ahead = 0) const { return is(TokenKind::kOp, op, ahead); }
  bool is_name(std::string_view name, size_t ahead = 0) const {
    return is(TokenKind::kName, name, ahead);
  }
  bool skip_op(std::string_view op) { return is_op(op) && (next(), true); }
  bool skip_name(std::string_view name) { return is_name(name) && (next(), true); }

  static std::string describe(const Token& token) {
    switch (token.kind) {
      case TokenKind::kEnd:
        return "the end of the template";
      case TokenKind::kBlockEnd:
        return "'%}'";
      case TokenKind::kOutputEnd:
        return "'}}'";
      case TokenKind::kString:
        return "a string";
      default:
        return fmt::format("'{}'", token.text);
    }
  }
  Status fail(std::string_view what) const {
    return template_error(StatusCode::kInvalidArgument, peek().line, what);
  }
  Status unsupported(int line, std::string_view what) const {
    return template_error(StatusCode::kUnimplemented, line,
                          fmt::format("{} is not supported", what));
  }
  Status unexpected(std::string_view wanted) const {
    return fail(fmt::format("found {} where {} is expected", describe(peek()), wanted));
  }
  Status expect_op(std::string_view op) {
    if (skip_op(op)) return {};
    return unexpected(fmt::format("'{}'", op));
  }
  Status expect_block_end() {
    if (peek().kind != TokenKind::kBlockEnd) return unexpected("'%}'");
    next();
    return {};
  }
  Result<std::string> expect_name() {
    if (peek().kind != TokenKind::kName) return unexpected("a name");
    return next().text;
  }

  // --- statements
  // Parses until {% word %} for one of `ends`, leaving the word as the next token.
  Status parse_body(Body& body, std::initializer_list<std::string_view> ends) {
    if (++block_depth_ > kMaxBlockDepth)
      return fail(fmt::format("blocks nest deeper than {}", kMaxBlockDepth));
    const int opened_at = peek().line;
    while (peek().kind != TokenKind::kEnd) {
      if (peek().kind == TokenKind::kBlockBegin) {
        for (const std::string_view end : ends) {
          if (!is_name(end, 1)) continue;
          next();
          --block_depth_;
          return {};
        }
      }
      TUTTI_RETURN_IF_ERROR(parse_piece(body));
    }
    --block_depth_;
    if (ends.size() == 0) return {};
    return fail(
        fmt::format("a block opened before line {} lacks its '{}'", opened_at, *(ends.end() - 1)));
  }

  Status parse_piece(Body& body) {
    const Token& token = next();
    if (token.kind == TokenKind::kText) {
      auto stmt = make(StmtKind::kText, token.line);
      stmt->text = token.text;
      body.push_back(std::move(stmt));
      return {};
    }
    if (token.kind == TokenKind::kOutputBegin) {
      auto stmt = make(StmtKind::kOutput, token.line);
      TUTTI_ASSIGN_OR_RETURN(stmt->expr, parse_tuple());
      if (peek().kind != TokenKind::kOutputEnd) return unexpected("'}}'");
      next();
      body.push_back(std::move(stmt));
      return {};
    }
    return parse_block(body);
  }

  static StmtPtr make(StmtKind kind, int line) {
    auto stmt = std::make_unique<Stmt>();
    stmt->kind = kind;
    stmt->line = line;
    return stmt;
  }

  Status parse_block(Body& body) {
    const int line = peek().line;
    TUTTI_ASSIGN_OR_RETURN(const std::string word, expect_name());
    StmtPtr stmt;
    if (word == "if") {
      TUTTI_ASSIGN_OR_RETURN(stmt, parse_if(line));
    } else if (word == "for") {
      TUTTI_ASSIGN_OR_RETURN(stmt, parse_for(line));
    } else if (word == "set") {
      TUTTI_ASSIGN_OR_RETURN(stmt, parse_set(line));
    } else if (word == "macro") {
      TUTTI_ASSIGN_OR_RETURN(stmt, parse_macro(line));
    } else if (word == "with") {
      TUTTI_ASSIGN_OR_RETURN(stmt, parse_with(line));
    } else if (word == "filter") {
      TUTTI_ASSIGN_OR_RETURN(stmt, parse_filter_block(line));
    } else if (word == "generation") {
      // Hugging Face's mark of the assistant's part, for training; its text is what counts here.
      TUTTI_RETURN_IF_ERROR(expect_block_end());
      stmt = make(StmtKind::kScope, line);
      TUTTI_RETURN_IF_ERROR(parse_body(stmt->body, {"endgeneration"}));
      TUTTI_RETURN_IF_ERROR(close());
    } else if (word == "break" || word == "continue") {
      if (loop_depth_ == 0)
        return template_error(StatusCode::kInvalidArgument, line,
                              fmt::format("'{}' stands outside a loop", word));
      stmt = make(word == "break" ? StmtKind::kBreak : StmtKind::kContinue, line);
      TUTTI_RETURN_IF_ERROR(expect_block_end());
    } else {
      return unsupported(line, fmt::format("the statement '{}'", word));
    }
    body.push_back(std::move(stmt));
    return {};
  }

  // Passes the end word that parse_body left, and its '%}'.
  Status close() {
    next();
    return expect_block_end();
  }

  Result<StmtPtr> parse_if(int line) {
    StmtPtr stmt = make(StmtKind::kIf, line);
    while (true) {
      Stmt::Branch branch;
      TUTTI_ASSIGN_OR_RETURN(branch.test, parse_tuple());
      TUTTI_RETURN_IF_ERROR(expect_block_end());
      TUTTI_RETURN_IF_ERROR(parse_body(branch.body, {"elif", "else", "endif"}));
      stmt->branches.push_back(std::move(branch));
      const std::string word = next().text;
      if (word == "elif") continue;
      TUTTI_RETURN_IF_ERROR(expect_block_end());
      if (word == "endif") return stmt;
      Stmt::Branch last;
      TUTTI_RETURN_IF_ERROR(parse_body(last.body, {"endif"}));
      stmt->branches.push_back(std::move(last));
      TUTTI_RETURN_IF_ERROR(close());
      return stmt;
    }
  }

  Result<StmtPtr> parse_for(int line) {
    StmtPtr stmt = make(StmtKind::kFor, line);
    TUTTI_ASSIGN_OR_RETURN(Target target, parse_targets("in"));
    stmt->targets.push_back(std::move(target));
    if (!skip_name("in")) return unexpected("'in'");
    TUTTI_ASSIGN_OR_RETURN(stmt->expr, parse_tuple(/*with_condition=*/false));
    if (skip_name("if")) {
      TUTTI_ASSIGN_OR_RETURN(stmt->filter, parse_expression());
    }
    if (is_name("recursive")) return unsupported(line, "a recursive loop");
    TUTTI_RETURN_IF_ERROR(expect_block_end());
    ++loop_depth_;
    TUTTI_RETURN_IF_ERROR(parse_body(stmt->body, {"else", "endfor"}));
    --loop_depth_;
    const bool has_else = next().text == "else";
    TUTTI_RETURN_IF_ERROR(expect_block_end());
    if (!has_else) return stmt;
    TUTTI_RETURN_IF_ERROR(parse_body(stmt->else_body, {"endfor"}));
    TUTTI_RETURN_IF_ERROR(close());
    return stmt;
  }

  Result<StmtPtr> parse_set(int line) {
    StmtPtr stmt = make(StmtKind::kSet, line);
    TUTTI_ASSIGN_OR_RETURN(Target target, parse_targets(""));
    stmt->targets.push_back(std::move(target));
    if (skip_op("=")) {
      TUTTI_ASSIGN_OR_RETURN(stmt->expr, parse_tuple());
      TUTTI_RETURN_IF_ERROR(expect_block_end());
      return stmt;
    }
    stmt->kind = StmtKind::kSetBlock;
    if (is_op("|")) {
      TUTTI_ASSIGN_OR_RETURN(stmt->expr, parse_filters(nullptr));
    }
    TUTTI_RETURN_IF_ERROR(expect_block_end());
    TUTTI_RETURN_IF_ERROR(parse_body(stmt->body, {"endset"}));
    TUTTI_RETURN_IF_ERROR(close());
    return stmt;
  }

  Result<StmtPtr> parse_macro(int line) {
    // A macro sees the top level's variables; inside another scope it would outlive what it sees.
    if (block_depth_ > 1 && scope_depth() > 0)
      return unsupported(line, "a macro inside a loop or another macro");
    StmtPtr stmt = make(StmtKind::kMacro, line);
    TUTTI_ASSIGN_OR_RETURN(stmt->text, expect_name());
    TUTTI_RETURN_IF_ERROR(expect_op("("));
    while (!is_op(")")) {
      if (!stmt->parameters.empty()) TUTTI_RETURN_IF_ERROR(expect_op(","));
      if (is_op(")")) break;
      if (is_op("*") || is_op("**")) return unsupported(line, "a macro with '*' parameters");
      TUTTI_ASSIGN_OR_RETURN(std::string parameter, expect_name());
      stmt->parameters.push_back(std::move(parameter));
      if (skip_op("=")) {
        TUTTI_ASSIGN_OR_RETURN(ExprPtr value, parse_expression());
        stmt->values.push_back(std::move(value));
      } else if (!stmt->values.empty()) {
        return fail("a macro parameter without default follows one with a default");
      }
    }
    next();
    TUTTI_RETURN_IF_ERROR(expect_block_end());
    const int loops = std::exchange(loop_depth_, 0);
    ++macro_depth_;
    TUTTI_RETURN_IF_ERROR(parse_body(stmt->body, {"endmacro"}));
    --macro_depth_;
    loop_depth_ = loops;
    if (is_name(stmt->text, 1)) ++pos_;  // {% endmacro name %}
    TUTTI_RETURN_IF_ERROR(close());
    return stmt;
  }

  int scope_depth() const { return loop_depth_ + macro_depth_ + with_depth_; }

  Result<StmtPtr> parse_with(int line) {
    StmtPtr stmt = make(StmtKind::kWith, line);
    while (peek().kind != TokenKind::kBlockEnd) {
      if (!stmt->targets.empty()) TUTTI_RETURN_IF_ERROR(expect_op(","));
      TUTTI_ASSIGN_OR_RETURN(std::string name, expect_name());
      TUTTI_RETURN_IF_ERROR(expect_op("="));
      TUTTI_ASSIGN_OR_RETURN(ExprPtr value, parse_expression());
      stmt->targets.push_back({Target::Kind::kName, std::move(name), {}, {}});
      stmt->values.push_back(std::move(value));
    }
    next();
    ++with_depth_;
    TUTTI_RETURN_IF_ERROR(parse_body(stmt->body, {"endwith"}));
    --with_depth_;
    TUTTI_RETURN_IF_ERROR(close());
    return stmt;
  }

  Result<StmtPtr> parse_filter_block(int line) {
    StmtPtr stmt = make(StmtKind::kFilterBlock, line);
    TUTTI_ASSIGN_OR_RETURN(MutableExpr filter, parse_one_filter(nullptr));
    TUTTI_ASSIGN_OR_RETURN(stmt->expr, parse_filters(std::move(filter)));
    TUTTI_RETURN_IF_ERROR(expect_block_end());
    TUTTI_RETURN_IF_ERROR(parse_body(stmt->body, {"endfilter"}));
    TUTTI_RETURN_IF_ERROR(close());
    return stmt;
  }

  Result<Target> parse_target() {
    if (skip_op("(")) {
      TUTTI_ASSIGN_OR_RETURN(Target target, parse_targets(")"));
      TUTTI_RETURN_IF_ERROR(expect_op(")"));
      return target;
    }
    Target target;
    TUTTI_ASSIGN_OR_RETURN(target.name, expect_name());
    static constexpr std::string_view kReserved[] = {"true",  "false", "none", "True",
                                                     "False", "None",  "loop"};
    if (std::find(std::begin(kReserved), std::end(kReserved), target.name) != std::end(kReserved)) {
      return fail(fmt::format("'{}' cannot be assigned to", target.name));
    }
    if (skip_op(".")) {
      target.kind = Target::Kind::kNamespaceAttr;
      TUTTI_ASSIGN_OR_RETURN(target.attr, expect_name());
    }
    return target;
  }

  Result<Target> parse_targets(std::string_view end) {
    if (++target_depth_ > 20) return fail("assignment targets nest deeper than 20");
    TUTTI_ASSIGN_OR_RETURN(Target first, parse_target());
    if (is_op(",")) {
      Target tuple;
      tuple.kind = Target::Kind::kTuple;
      tuple.items.push_back(std::move(first));
      while (skip_op(",")) {
        if (is_name(end) || is_op(end) || is_op("=")) break;
        TUTTI_ASSIGN_OR_RETURN(Target item, parse_target());
        tuple.items.push_back(std::move(item));
      }
      first = std::move(tuple);
    }
    --target_depth_;
    return first;
  }

  // --- expressions, one function per precedence, loosest first
  Result<MutableExpr> finish(MutableExpr expr) {
    for (const ExprPtr& arg : expr->args) {
      if (arg != nullptr) expr->depth = std::max(expr->depth, arg->depth + 1);
    }
    for (const auto& [name, arg] : expr->named) expr->depth = std::max(expr->depth, arg->depth + 1);
    if (expr->depth > kMaxExprDepth)
      return fail(fmt::format("an expression nests deeper than {}", kMaxExprDepth));
    return expr;
  }
  MutableExpr make(ExprKind kind, ExprPtr first = nullptr, ExprPtr second = nullptr) const {
    auto expr = std::make_unique<Expr>();
    expr->kind = kind;
    expr->line = peek().line;
    if (first != nullptr) expr->args.push_back(std::move(first));
    if (second != nullptr) expr->args.push_back(std::move(second));
    return expr;
  }
  MutableExpr constant(Value value) const {
    MutableExpr expr = make(ExprKind::kConst);
    expr->constant = std::move(value);
    return expr;
  }

  // One expression, or a tuple when commas follow.
  Result<MutableExpr> parse_tuple(bool with_condition = true) {
    const auto parse = [&] { return with_condition ? parse_expression() : parse_or(); };
    TUTTI_ASSIGN_OR_RETURN(MutableExpr first, parse());
    if (!is_op(",")) return first;
    MutableExpr tuple = make(ExprKind::kTuple, std::move(first));
    while (skip_op(",")) {
      const TokenKind kind = peek().kind;
      if (kind == TokenKind::kBlockEnd || kind == TokenKind::kOutputEnd || is_op(")")) break;
      TUTTI_ASSIGN_OR_RETURN(MutableExpr item, parse());
      tuple->args.push_back(std::move(item));
    }
    return finish(std::move(tuple));
  }

  Result<MutableExpr> parse_expression() {
    if (++expr_depth_ > kMaxExprDepth)
      return fail(fmt::format("an expression nests deeper than {}", kMaxExprDepth));
    Result<MutableExpr> expr = parse_condition();
    --expr_depth_;
    return expr;
  }

  Result<MutableExpr> parse_condition() {
    TUTTI_ASSIGN_OR_RETURN(MutableExpr expr, parse_or());
    while (skip_name("if")) {
      TUTTI_ASSIGN_OR_RETURN(MutableExpr test, parse_or());
      MutableExpr condition = make(ExprKind::kCondition, std::move(expr), std::move(test));
      condition->args.push_back(nullptr);
      if (skip_name("else")) {
        TUTTI_ASSIGN_OR_RETURN(condition->args[2], parse_expression());
      }
      TUTTI_ASSIGN_OR_RETURN(expr, finish(std::move(condition)));
    }
    return expr;
  }

  Result<MutableExpr> parse_or() {
    TUTTI_ASSIGN_OR_RETURN(MutableExpr left, parse_and());
    while (skip_name("or")) {
      TUTTI_ASSIGN_OR_RETURN(MutableExpr right, parse_and());
      TUTTI_ASSIGN_OR_RETURN(left, finish(make(ExprKind::kOr, std::move(left), std::move(right))));
    }
    return left;
  }

  Result<MutableExpr> parse_and() {
    TUTTI_ASSIGN_OR_RETURN(MutableExpr left, parse_not());
    while (skip_name("and")) {
      TUTTI_ASSIGN_OR_RETURN(MutableExpr right, parse_not());
      TUTTI_ASSIGN_OR_RETURN(left, finish(make(ExprKind::kAnd, std::move(left), std::move(right))));
    }
    return left;
  }

  Result<MutableExpr> parse_not() {
    if (!skip_name("not")) return parse_compare();
    if (++expr_depth_ > kMaxExprDepth)
      return fail(fmt::format("an expression nests deeper than {}", kMaxExprDepth));
    TUTTI_ASSIGN_OR_RETURN(MutableExpr inner, parse_not());
    --expr_depth_;
    return finish(make(ExprKind::kNot, std::move(inner)));
  }

  bool comparison(Op& op) {
    static constexpr std::pair<std::string_view, Op> kOps[] = {{"==", Op::kEq}, {"!=", Op::kNe},
                                                               {"<", Op::kLt},  {"<=", Op::kLe},
                                                               {">", Op::kGt},  {">=", Op::kGe}};
    for (const auto& [text, kind] : kOps) {
      if (skip_op(text)) {
        op = kind;
        return true;
      }
    }
    if (is_name("not") && is_name("in", 1)) {
      next();
      next();
      op = Op::kNotIn;
      return true;
    }
    op = Op::kIn;
    return skip_name("in");
  }

  Result<MutableExpr> parse_compare() {
    TUTTI_ASSIGN_OR_RETURN(MutableExpr first, parse_sum());
    MutableExpr compare;
    Op op = Op::kEq;
    while (comparison(op)) {
      if (compare == nullptr) compare = make(ExprKind::kCompare, std::move(first));
      compare->ops.push_back(op);
      TUTTI_ASSIGN_OR_RETURN(MutableExpr operand, parse_sum());
      compare->args.push_back(std::move(operand));
    }
    if (compare == nullptr) return first;
    return finish(std::move(compare));
  }

  using Rule = Result<MutableExpr> (Parser::*)();
  Result<MutableExpr> parse_binary(Rule operand,
                                   std::initializer_list<std::pair<std::string_view, Op>> ops) {
    TUTTI_ASSIGN_OR_RETURN(MutableExpr left, (this->*operand)());
    while (true) {
      const auto found =
          std::find_if(ops.begin(), ops.end(), [&](const auto& op) { return is_op(op.first); });
      if (found == ops.end()) return left;
      next();
      TUTTI_ASSIGN_OR_RETURN(MutableExpr right, (this->*operand)());
      MutableExpr binary = make(ExprKind::kBinary, std::move(left), std::move(right));
      binary->op = found->second;
      TUTTI_ASSIGN_OR_RETURN(left, finish(std::move(binary)));
    }
  }

  Result<MutableExpr> parse_sum() {
    return parse_binary(&Parser::parse_concat, {{"+", Op::kAdd}, {"-", Op::kSub}});
  }

  Result<MutableExpr> parse_concat() {
    TUTTI_ASSIGN_OR_RETURN(MutableExpr first, parse_product());
    if (!is_op("~")) return first;
    MutableExpr concat = make(ExprKind::kConcat, std::move(first));
    while (skip_op("~")) {
      TUTTI_ASSIGN_OR_RETURN(MutableExpr part, parse_product());
      concat->args.push_back(std::move(part));
    }
    return finish(std::move(concat));
  }

  Result<MutableExpr> parse_product() {
    return parse_binary(&Parser::parse_power,
                        {{"*", Op::kMul}, {"/", Op::kDiv}, {"//", Op::kFloorDiv}, {"%", Op::kMod}});
  }
  Result<MutableExpr> parse_power() {
    return parse_binary(&Parser::parse_filtered_unary, {{"**", Op::kPow}});
  }
  Result<MutableExpr> parse_filtered_unary() { return parse_unary(true); }

  Result<MutableExpr> parse_unary(bool with_filters) {
    MutableExpr expr;
    if (is_op("-") || is_op("+")) {
      if (++expr_depth_ > kMaxExprDepth)
        return fail(fmt::format("an expression nests deeper than {}", kMaxExprDepth));
      const ExprKind kind = next().text == "-" ? ExprKind::kNegate : ExprKind::kPlus;
      TUTTI_ASSIGN_OR_RETURN(MutableExpr inner, parse_unary(false));
      --expr_depth_;
      TUTTI_ASSIGN_OR_RETURN(expr, finish(make(kind, std::move(inner))));
    } else {
      TUTTI_ASSIGN_OR_RETURN(expr, parse_primary());
    }
    TUTTI_ASSIGN_OR_RETURN(expr, parse_postfix(std::move(expr)));
    while (with_filters) {
      if (is_op("|")) {
        TUTTI_ASSIGN_OR_RETURN(expr, parse_filters(std::move(expr)));
      } else if (is_name("is")) {
        TUTTI_ASSIGN_OR_RETURN(expr, parse_test(std::move(expr)));
      } else if (is_op("(")) {
        TUTTI_ASSIGN_OR_RETURN(expr, parse_call(std::move(expr)));
      } else {
        break;
      }
    }
    return expr;
  }

  Result<MutableExpr> parse_primary() {
    const Token token = peek();
    switch (token.kind) {
      case TokenKind::kName: {
        MutableExpr expr = make(ExprKind::kName);
        next();
        if (token.text == "true" || token.text == "True") return constant(true);
        if (token.text == "false" || token.text == "False") return constant(false);
        if (token.text == "none" || token.text == "None") return constant(None{});
        expr->name = token.text;
        return expr;
      }
      case TokenKind::kString: {
        std::string text;
        while (peek().kind == TokenKind::kString) text += next().text;
        return constant(Value::string(std::move(text)));
      }
      case TokenKind::kInteger:
        return parse_integer();
      case TokenKind::kFloat:
        return constant(std::strtod(next().text.c_str(), nullptr));
      default:
        break;
    }
    if (skip_op("(")) {
      MutableExpr inner;
      if (is_op(")")) {
        inner = make(ExprKind::kTuple);
      } else {
        TUTTI_ASSIGN_OR_RETURN(inner, parse_tuple());
      }
      TUTTI_RETURN_IF_ERROR(expect_op(")"));
      return inner;
    }
    if (skip_op("[")) return parse_list();
    if (skip_op("{")) return parse_dict();
    return unexpected("an expression");
  }

  Result<MutableExpr> parse_integer() {
    int64_t number = 0;
    const std::string& text = peek().text;
    if (std::from_chars(text.data(), text.data() + text.size(), number).ec != std::errc()) {
      return fail(fmt::format("the number {} is too large", text));
    }
    next();
    return constant(number);
  }

  Result<MutableExpr> parse_list() {
    MutableExpr list = make(ExprKind::kList);
    while (!is_op("]")) {
      if (!list->args.empty()) TUTTI_RETURN_IF_ERROR(expect_op(","));
      if (is_op("]")) break;
      TUTTI_ASSIGN_OR_RETURN(MutableExpr item, parse_expression());
      list->args.push_back(std::move(item));
    }
    next();
    return finish(std::move(list));
  }

  Result<MutableExpr> parse_dict() {
    MutableExpr dict = make(ExprKind::kDict);
    while (!is_op("}")) {
      if (!dict->args.empty()) TUTTI_RETURN_IF_ERROR(expect_op(","));
      if (is_op("}")) break;
      TUTTI_ASSIGN_OR_RETURN(MutableExpr key, parse_expression());
      TUTTI_RETURN_IF_ERROR(expect_op(":"));
      TUTTI_ASSIGN_OR_RETURN(MutableExpr value, parse_expression());
      dict->args.push_back(std::move(key));
      dict->args.push_back(std::move(value));
    }
    next();
    return finish(std::move(dict));
  }

  Result<MutableExpr> parse_postfix(MutableExpr expr) {
    while (true) {
      if (is_op(".")) {
        next();
        if (peek().kind == TokenKind::kInteger) {
          MutableExpr item = make(ExprKind::kGetItem, std::move(expr));
          TUTTI_ASSIGN_OR_RETURN(MutableExpr index, parse_integer());
          item->args.push_back(std::move(index));
          TUTTI_ASSIGN_OR_RETURN(expr, finish(std::move(item)));
          continue;
        }
        MutableExpr attr = make(ExprKind::kGetAttr, std::move(expr));
        TUTTI_ASSIGN_OR_RETURN(attr->name, expect_name());
        TUTTI_ASSIGN_OR_RETURN(expr, finish(std::move(attr)));
      } else if (skip_op("[")) {
        TUTTI_ASSIGN_OR_RETURN(expr, parse_subscript(std::move(expr)));
      } else if (is_op("(")) {
        TUTTI_ASSIGN_OR_RETURN(expr, parse_call(std::move(expr)));
      } else {
        return expr;
      }
    }
  }

  Result<MutableExpr> parse_subscript(MutableExpr object) {
    MutableExpr expr = make(ExprKind::kGetItem, std::move(object));
    ExprPtr begin;
    if (!is_op(":")) {
      TUTTI_ASSIGN_OR_RETURN(begin, parse_expression());
    }
    if (skip_op("]")) {
      expr->args.push_back(std::move(begin));
      return finish(std::move(expr));
    }
    if (is_op(",")) return unsupported(peek().line, "a subscript with commas");
    expr->kind = ExprKind::kSlice;
    expr->args.push_back(std::move(begin));
    while (expr->args.size() < 4 && skip_op(":")) {
      ExprPtr bound;
      if (!is_op(":") && !is_op("]")) {
        TUTTI_ASSIGN_OR_RETURN(bound, parse_expression());
      }
      expr->args.push_back(std::move(bound));
    }
    expr->args.resize(4);
    TUTTI_RETURN_IF_ERROR(expect_op("]"));
    return finish(std::move(expr));
  }

  Result<MutableExpr> parse_call(MutableExpr callee) {
    MutableExpr call = make(ExprKind::kCall, std::move(callee));
    TUTTI_RETURN_IF_ERROR(parse_arguments(*call));
    return finish(std::move(call));
  }

  Status parse_arguments(Expr& call) {
    next();  // the '('
    bool first = true;
    while (!is_op(")")) {
      if (!first) TUTTI_RETURN_IF_ERROR(expect_op(","));
      first = false;
      if (is_op(")")) break;
      if (is_op("*") || is_op("**"))
        return unsupported(peek().line, fmt::format("an argument list with '{}'", peek().text));
      if (peek().kind == TokenKind::kName && is_op("=", 1)) {
        std::string name = next().text;
        next();
        TUTTI_ASSIGN_OR_RETURN(ExprPtr value, parse_expression());
        call.named.emplace_back(std::move(name), std::move(value));
        continue;
      }
      if (!call.named.empty()) return fail("a positional argument follows a named one");
      TUTTI_ASSIGN_OR_RETURN(ExprPtr value, parse_expression());
      call.args.push_back(std::move(value));
    }
    next();
    return {};
  }

  Result<MutableExpr> parse_filters(MutableExpr expr) {
    while (skip_op("|")) {
      TUTTI_ASSIGN_OR_RETURN(expr, parse_one_filter(std::move(expr)));
    }
    return expr;
  }

  Result<MutableExpr> parse_one_filter(MutableExpr input) {
    MutableExpr filter = make(ExprKind::kFilter);
    filter->args.push_back(std::move(input));
    TUTTI_ASSIGN_OR_RETURN(filter->name, expect_name());
    filter->builtin = find_filter(filter->name);
    if (filter->builtin == nullptr)
      return unsupported(filter->line, fmt::format("the filter '{}'", filter->name));
    if (is_op("(")) TUTTI_RETURN_IF_ERROR(parse_arguments(*filter));
    return finish(std::move(filter));
  }

  Result<MutableExpr> parse_test(MutableExpr value) {
    next();  // "is"
    const bool negated = skip_name("not");
    MutableExpr test = make(ExprKind::kTest, std::move(value));
    TUTTI_ASSIGN_OR_RETURN(test->name, expect_name());
    test->builtin = find_test(test->name);
    if (test->builtin == nullptr)
      return unsupported(test->line, fmt::format("the test '{}'", test->name));
    if (is_op("(")) {
      TUTTI_RETURN_IF_ERROR(parse_arguments(*test));
    } else if (starts_test_argument()) {
      if (is_name("is")) return fail("tests cannot be chained with 'is'");
      TUTTI_ASSIGN_OR_RETURN(MutableExpr argument, parse_primary());
      TUTTI_ASSIGN_OR_RETURN(ExprPtr whole, parse_postfix(std::move(argument)));
      test->args.push_back(std::move(whole));
    }
    TUTTI_ASSIGN_OR_RETURN(MutableExpr done, finish(std::move(test)));
    if (!negated) return done;
    return finish(make(ExprKind::kNot, std::move(done)));
  }

  bool starts_test_argument() const {
    switch (peek().kind) {
      case TokenKind::kName:
        return !is_name("else") && !is_name("or") && !is_name("and") && !is_name("if") &&
               !is_name("not") && !is_name("in");
      case TokenKind::kString:
      case TokenKind::kInteger:
      case TokenKind::kFloat:
        return true;
      default:
        return is_op("[") || is_op("{");
    }
  }

  std::vector<Token> tokens_;
  size_t pos_ = 0;
  int block_depth_ = 0;
  int loop_depth_ = 0;
  int macro_depth_ = 0;
  int with_depth_ = 0;
  int expr_depth_ = 0;
  int target_depth_ = 0;
};

}  // namespace

Result<Body> parse_template(std::string_view source) {
  TUTTI_ASSIGN_OR_RETURN(std::vector<Token> tokens, tokenize(source));
  return Parser(std::move(tokens)).run();
}

}  // namespace tutti::text::jinja
