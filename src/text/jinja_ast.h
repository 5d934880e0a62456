// The syntax tree of a template.
// *Thread:* immutable after parsing. *Ownership:* a node owns its children.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja_value.h"

namespace tutti::text::jinja {

struct Expr;
struct Builtin;
using ExprPtr = std::unique_ptr<const Expr>;

enum class ExprKind {
  kConst,
  kName,
  kList,
  kTuple,
  kDict,     // args: key, value, key, value ...
  kGetAttr,  // args: object; name
  kGetItem,  // args: object, key
  kSlice,    // args: object, begin, end, step; the last three may be null
  kCall,     // args: callee, positional...; named
  kFilter,   // args: input (null in a filter block), positional...; named; name
  kTest,     // args: value, positional...; named; name
  kBinary,   // args: left, right; op
  kCompare,  // args: first, then one per op; ops
  kConcat,
  kAnd,
  kOr,
  kNot,
  kNegate,
  kPlus,
  kCondition,  // args: then, test, else (may be null)
};

enum class Op {
  kAdd,
  kSub,
  kMul,
  kDiv,
  kFloorDiv,
  kMod,
  kPow,
  kEq,
  kNe,
  kLt,
  kLe,
  kGt,
  kGe,
  kIn,
  kNotIn
};

struct Expr {
  ExprKind kind = ExprKind::kConst;
  int line = 0;
  int depth = 1;  // of the tree below; bounded by the parser
  std::string name;
  Value constant;  // strings share their bytes
  Op op = Op::kAdd;
  std::vector<Op> ops;
  std::vector<ExprPtr> args;
  std::vector<std::pair<std::string, ExprPtr>> named;
  const Builtin* builtin = nullptr;  // of kFilter and kTest
};

// What `set` and `for` assign to.
struct Target {
  enum class Kind { kName, kTuple, kNamespaceAttr } kind = Kind::kName;
  std::string name;
  std::string attr;
  std::vector<Target> items;
};

enum class StmtKind {
  kText,
  kOutput,
  kIf,
  kFor,
  kSet,
  kSetBlock,
  kMacro,
  kWith,
  kFilterBlock,
  kScope,
  kBreak,
  kContinue
};

using Body = std::vector<std::unique_ptr<const Stmt>>;

struct Stmt {
  struct Branch {
    ExprPtr test;  // null: else
    Body body;
  };

  StmtKind kind = StmtKind::kText;
  int line = 0;
  std::string text;  // kText; name of kMacro
  ExprPtr
      expr;  // kOutput, kSet, iterable of kFor, filters of kSetBlock (may be null), kFilterBlock
  ExprPtr filter;                       // condition of kFor; may be null
  std::vector<Target> targets;          // one of kSet and kFor; several of kWith
  std::vector<ExprPtr> values;          // of kWith; defaults of kMacro (for its last parameters)
  std::vector<std::string> parameters;  // of kMacro
  std::vector<Branch> branches;         // of kIf
  Body body;
  Body else_body;  // of kFor
};

}  // namespace tutti::text::jinja
