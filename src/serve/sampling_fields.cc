#include "serve/sampling_fields.h"

#include <fmt/format.h>

#include <charconv>

namespace tutti::serve {

namespace json = boost::json;

namespace {

constexpr int64_t kManyTokens = 1 << 24;

template <typename T, typename V>
void assign(T& to, const std::optional<V>& value) {
  if (value) to = static_cast<T>(*value);
}

// {"15": -100, "42": 3.5}
void read_logit_bias(Fields& fields, SamplingParams& params) {
  const json::object* bias = fields.object("logit_bias");
  if (!bias) return;
  for (const auto& entry : *bias) {
    const std::string_view key(entry.key().data(), entry.key().size());
    int32_t id = -1;
    const auto [end, code] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (code != std::errc() || end != key.data() + key.size() || id < 0) {
      return fields.fail("logit_bias", "`logit_bias` has a key that is no token id.");
    }
    if (!entry.value().is_number()) {
      return fields.fail("logit_bias",
                         fmt::format("`logit_bias` of token {} is {}; it must be a number.", id,
                                     json_kind(entry.value())));
    }
    params.logit_bias[id] = static_cast<float>(entry.value().to_number<double>());
  }
}

void read_common(Fields& fields, SamplingParams& params) {
  assign(params.temperature, fields.number("temperature", 0, 2));
  assign(params.top_p, fields.number("top_p", 0, 1));
  assign(params.top_k, fields.integer("top_k", -1, kManyTokens));
  assign(params.min_p, fields.number("min_p", 0, 1));
  assign(params.repetition_penalty, fields.number("repetition_penalty", 0, 10));
  assign(params.frequency_penalty, fields.number("frequency_penalty", -2, 2));
  assign(params.presence_penalty, fields.number("presence_penalty", -2, 2));
  assign(params.min_tokens, fields.integer("min_tokens", 0, kManyTokens));
  assign(params.ignore_eos, fields.boolean("ignore_eos"));
  assign(params.skip_special_tokens, fields.boolean("skip_special_tokens"));
  assign(params.include_stop_str_in_output, fields.boolean("include_stop_str_in_output"));
  if (fields.any("stop_token_ids")) params.stop_token_ids = fields.integers("stop_token_ids");
  if (fields.any("stop")) params.stop = fields.strings("stop");
  read_logit_bias(fields, params);
}

void check(Fields& fields, const SamplingParams& params) {
  const Status status = params.validate();
  if (!status.ok()) fields.fail(status.param(), status.message());
}

}  // namespace

void read_sampling_fields(Fields& fields, std::vector<SamplingParams>& params) {
  read_common(fields, params.front());
  const std::optional<int64_t> seed = fields.integer("seed");
  if (seed) {
    for (SamplingParams& stage : params) stage.seed = static_cast<uint64_t>(*seed);
  }
  check(fields, params.front());
}

void read_sampling_object(Fields& fields, SamplingParams& params) {
  read_common(fields, params);
  assign(params.max_tokens, fields.integer("max_tokens", 1, kManyTokens));
  if (const auto seed = fields.integer("seed")) params.seed = static_cast<uint64_t>(*seed);
  if (const auto count = fields.integer("logprobs", 0, 20)) {
    params.logprobs = static_cast<int32_t>(*count);
  }
  check(fields, params);
  fields.finish();
}

void read_sampling_params_list(Fields& fields, std::vector<SamplingParams>& params) {
  const json::array* list = fields.array("sampling_params_list");
  if (!list) return;
  if (list->size() != params.size()) {
    return fields.fail(
        "sampling_params_list",
        fmt::format("`sampling_params_list` has {} entries; this model has {} stages.",
                    list->size(), params.size()));
  }
  for (size_t s = 0; s < params.size(); ++s) {
    const json::value& entry = (*list)[s];
    if (entry.is_null()) continue;
    const std::string path = fmt::format("{}[{}]", fields.path_of("sampling_params_list"), s);
    if (!entry.is_object()) {
      return fields.fail("sampling_params_list",
                         fmt::format("`{}` is {}; it must be an object.", path, json_kind(entry)));
    }
    Fields stage(entry.get_object(), path, fields.error());
    read_sampling_object(stage, params[s]);
  }
}

}  // namespace tutti::serve
