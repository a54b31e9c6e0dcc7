// A query is read by operator precedence: every sign that can stand after an expression binds with
// a strength, and an expression takes what binds stronger than what stands before it. A projection
// ("[*]", "[]", "[?…]", a slice, "*") takes all that follows it up to a weaker sign and picks that
// from each element.
#include "output/query.h"

#include <boost/json.hpp>

#include "base/quote.h"
#include "output/evaluate.h"
#include "output/expression.h"
#include "output/token.h"

namespace runnel::output {

namespace {

constexpr size_t kMaxQueryBytes = 4096;
constexpr int kMaxDepth = 64;
// A tree leans as deep as there are signs in a row ("a.b.c…"), and evaluating it goes as deep.
constexpr size_t kMaxWords = 1000;

using Kind = Expression::Kind;
using Part = Expression::Part;

enum Strength : int {
  kPipe = 1,
  kOr = 2,
  kAnd = 3,
  kCompare = 5,
  kFlatten = 9,
  // A projection ends before anything weaker.
  kProjectionEnd = 10,
  kStar = 20,
  kFilter = 21,
  kDot = 40,
  kNot = 45,
  kBracket = 55,
};

bool is_comparison(const Token& token) {
  for (const char* sign : {"==", "!=", "<", "<=", ">", ">="})
    if (token.is(sign)) return true;
  return false;
}

int strength(const Token& token) {
  if (token.kind != Token::Kind::kSign) return 0;
  if (is_comparison(token)) return kCompare;
  static constexpr std::pair<std::string_view, int> kTable[] = {
      {"|", kPipe},    {"||", kOr}, {"&&", kAnd},    {"[]", kFlatten},
      {"[?", kFilter}, {".", kDot}, {"[", kBracket},
  };
  for (const auto& [sign, value] : kTable)
    if (token.text == sign) return value;
  return 0;
}

Part make(Kind kind) {
  return std::make_unique<Expression>(kind);
}

template <class... Parts>
Part make(Kind kind, Parts... parts) {
  auto made = make(kind);
  (made->parts.push_back(std::move(parts)), ...);
  return made;
}

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Result<Part> whole() {
    RUNNEL_TRY(auto made, expression(0));
    if (now().kind != Token::Kind::kEnd) return unexpected("the end");
    return made;
  }

 private:
  const Token& now() const { return tokens_[at_]; }
  const Token& ahead(size_t by) const { return tokens_[std::min(at_ + by, tokens_.size() - 1)]; }
  Token take() { return tokens_[now().kind == Token::Kind::kEnd ? at_ : at_++]; }

  std::unexpected<Error> unexpected(std::string_view wanted) const {
    return fail(Code::kInvalid, "query: at {}: {} belongs here", now().place + 1, wanted);
  }
  Result<void> expect(std::string_view sign) {
    if (!now().is(sign)) return unexpected(sign);
    take();
    return {};
  }

  // What binds stronger than `limit`.
  Result<Part> expression(int limit) {
    if (++depth_ > kMaxDepth)
      return fail(Code::kInvalid, "query: it nests deeper than {}", kMaxDepth);
    RUNNEL_TRY(auto left, first());
    while (strength(now()) > limit) {
      RUNNEL_TRY(left, after(std::move(left)));
    }
    --depth_;
    return left;
  }

  Result<Part> field() {
    auto made = make(Kind::kField);
    made->text = take().text;
    return made;
  }

  // What an expression begins with.
  Result<Part> first() {
    if (now().kind == Token::Kind::kName && ahead(1).is("(")) return function();
    if (now().kind == Token::Kind::kName || now().kind == Token::Kind::kQuoted) return field();
    if (now().kind == Token::Kind::kLiteral) {
      auto made = make(Kind::kLiteral);
      made->literal = take().literal;
      return made;
    }
    if (now().is("@")) {
      take();
      return make(Kind::kCurrent);
    }
    if (now().is("*")) return values(make(Kind::kCurrent));
    if (now().is("[]")) return flatten(make(Kind::kCurrent));
    if (now().is("[?")) return filter(make(Kind::kCurrent));
    if (now().is("{")) return hash();
    if (now().is("!")) {
      take();
      RUNNEL_TRY(auto inner, expression(kNot));
      return make(Kind::kNot, std::move(inner));
    }
    if (now().is("(")) {
      take();
      RUNNEL_TRY(auto inner, expression(0));
      RUNNEL_DO(expect(")"));
      return inner;
    }
    if (now().is("[")) {
      if (begins_index()) return bracket(make(Kind::kCurrent));
      return list();
    }
    return unexpected("a name, a bracket, a function or a literal");
  }

  // "[0", "[:", "[*]": not a list of expressions.
  bool begins_index() const {
    return ahead(1).kind == Token::Kind::kNumber || ahead(1).is(":") ||
           (ahead(1).is("*") && ahead(2).is("]"));
  }

  Result<Part> after(Part left) {
    if (now().is(".")) {
      take();
      if (now().is("*")) return values(std::move(left));
      RUNNEL_TRY(auto right, after_dot(kDot));
      return make(Kind::kChain, std::move(left), std::move(right));
    }
    if (now().is("[")) {
      if (!begins_index()) {
        take();
        return unexpected("a number, a slice or *");
      }
      return bracket(std::move(left));
    }
    if (now().is("[]")) return flatten(std::move(left));
    if (now().is("[?")) return filter(std::move(left));
    return binary(std::move(left));
  }

  Result<Part> binary(Part left) {
    const auto sign = take();
    RUNNEL_TRY(auto right, expression(strength(sign)));
    if (sign.is("|")) return make(Kind::kChain, std::move(left), std::move(right));
    if (sign.is("||")) return make(Kind::kOr, std::move(left), std::move(right));
    if (sign.is("&&")) return make(Kind::kAnd, std::move(left), std::move(right));
    auto made = make(Kind::kCompare, std::move(left), std::move(right));
    made->text = sign.text;
    return made;
  }

  Result<Part> after_dot(int limit) {
    if (now().kind == Token::Kind::kName || now().kind == Token::Kind::kQuoted || now().is("*"))
      return expression(limit);
    if (now().is("[")) return list();
    if (now().is("{")) return hash();
    return unexpected("a name, [ or {");
  }

  // What is picked from each element of a projection.
  Result<Part> picked(int limit) {
    if (strength(now()) < kProjectionEnd) return make(Kind::kCurrent);
    if (now().is(".")) {
      take();
      return after_dot(limit);
    }
    if (now().is("[") || now().is("[?")) return expression(limit);
    return unexpected("., [ or the end");
  }

  Result<Part> values(Part left) {
    take();
    RUNNEL_TRY(auto right, picked(kStar));
    return make(Kind::kValues, std::move(left), std::move(right));
  }

  Result<Part> flatten(Part left) {
    take();
    RUNNEL_TRY(auto right, picked(kFlatten));
    return make(Kind::kProjection, make(Kind::kFlatten, std::move(left)), std::move(right));
  }

  Result<Part> filter(Part left) {
    take();
    RUNNEL_TRY(auto condition, expression(0));
    RUNNEL_DO(expect("]"));
    RUNNEL_TRY(auto right, picked(kFilter));
    return make(Kind::kFilter, std::move(left), std::move(right), std::move(condition));
  }

  // "[0]", "[1:3]", "[*]"
  Result<Part> bracket(Part left) {
    take();
    if (now().is("*")) {
      take();
      RUNNEL_DO(expect("]"));
      RUNNEL_TRY(auto right, picked(kStar));
      return make(Kind::kProjection, std::move(left), std::move(right));
    }
    std::array<std::optional<int64_t>, 3> numbers;
    size_t colons = 0;
    while (!now().is("]")) {
      if (now().is(":") && colons < 2) {
        take();
        ++colons;
      } else if (now().kind == Token::Kind::kNumber && !numbers[colons]) {
        numbers[colons] = take().number;
      } else {
        return unexpected("a number, : or ]");
      }
    }
    take();
    auto made = make(colons == 0 ? Kind::kIndex : Kind::kSlice);
    made->numbers = numbers;
    if (colons == 0) return make(Kind::kChain, std::move(left), std::move(made));
    if (numbers[2] == 0) return fail(Code::kInvalid, "query: a slice's step is not 0");
    RUNNEL_TRY(auto right, picked(kStar));
    return make(Kind::kProjection, make(Kind::kChain, std::move(left), std::move(made)),
                std::move(right));
  }

  // Expressions with commas between them, up to `end`.
  Result<void> expressions(Expression& into, std::string_view end) {
    while (true) {
      RUNNEL_TRY(auto part, expression(0));
      into.parts.push_back(std::move(part));
      if (now().is(end)) break;
      RUNNEL_DO(expect(","));
    }
    take();
    return {};
  }

  Result<Part> list() {
    take();
    auto made = make(Kind::kList);
    RUNNEL_DO(expressions(*made, "]"));
    return made;
  }

  Result<Part> hash() {
    take();
    auto made = make(Kind::kHash);
    while (true) {
      if (now().kind != Token::Kind::kName && now().kind != Token::Kind::kQuoted)
        return unexpected("a name");
      made->names.push_back(take().text);
      RUNNEL_DO(expect(":"));
      RUNNEL_TRY(auto part, expression(0));
      made->parts.push_back(std::move(part));
      if (now().is("}")) break;
      RUNNEL_DO(expect(","));
    }
    take();
    return made;
  }

  Result<Part> function() {
    auto made = make(Kind::kFunction);
    const auto place = now().place;
    made->text = take().text;
    take();
    if (now().is(")")) {
      take();
    } else {
      RUNNEL_DO(expressions(*made, ")"));
    }
    const auto wanted = arguments_of(made->text);
    if (!wanted)
      return fail(Code::kInvalid, "query: at {}: there is no function {}; there are: {}", place + 1,
                  made->text, function_names());
    if (*wanted != made->parts.size())
      return fail(Code::kInvalid, "query: at {}: {} takes {} argument{}", place + 1, made->text,
                  *wanted, *wanted == 1 ? "" : "s");
    return made;
  }

  const std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

Result<Query> Query::parse(std::string_view text) {
  if (text.size() > kMaxQueryBytes)
    return fail(Code::kInvalid, "query: it is longer than {} bytes", kMaxQueryBytes);
  RUNNEL_TRY(auto tokens, split_query(text));
  if (tokens.size() > kMaxWords)
    return fail(Code::kInvalid, "query: it has more than {} names and signs", kMaxWords);
  RUNNEL_TRY(auto root, Parser(std::move(tokens)).whole());
  return Query(std::shared_ptr<const Expression>(std::move(root)));
}

Result<boost::json::value> Query::apply(const boost::json::value& document) const {
  return evaluate(*root_, document);
}

}  // namespace runnel::output
