#include "models/qwen3_omni_moe/pipeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <mutex>
#include <optional>
#include <tuple>

#include "base/json_file.h"
#include "base/log.h"
#include "base/strings.h"
#include "models/chat_render.h"
#include "models/qwen3_omni_moe/code2wav.h"
#include "models/qwen3_omni_moe/footprint.h"
#include "models/qwen3_omni_moe/generation_defaults.h"
#include "models/qwen3_omni_moe/media_processor.h"
#include "models/qwen3_omni_moe/talker.h"
#include "models/qwen3_omni_moe/thinker.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "weights/measuring_loader.h"
#include "weights/weight_loader.h"

namespace tutti::qwen3_omni_moe {

namespace {

constexpr int32_t kThinker = 0;
constexpr int32_t kTalker = 1;
constexpr int32_t kCode2Wav = 2;

// The voice that the reference speaks with when none is asked for.
constexpr std::string_view kDefaultVoice = "ethan";

// A payload goes to the next stage as it is: the talker takes the thinker's ids and media rows,
// code2wav the talker's frames.
Result<StagePayload> pass_on(const EdgeContext&, StagePayload upstream, bool) { return upstream; }

std::string capitalised(std::string name) {
  if (!name.empty() && name[0] >= 'a' && name[0] <= 'z') name[0] = static_cast<char>(name[0] - 32);
  return name;
}

struct TextFrontend {
  std::shared_ptr<const Tokenizer> tokenizer;               // null: prompts are token ids
  std::shared_ptr<const text::ChatTemplate> chat_template;  // null: no chat prompts
};

// What prompts are made with; parts that a directory lacks are none.
struct Frontend {
  TextFrontend text;
  std::optional<MediaProcessor> media;
};

// What a stage's replicas share: loaded by the first, freed with the last.
template <typename Weights>
class SharedWeights {
 public:
  // A copy of the handles, which keep what they share. A load that differs is not shared.
  template <typename Load>
  Result<Weights> get(const LoadOptions& options, Load load) {
    const std::lock_guard lock(mutex_);  // a second replica waits for the first one's load
    const Key key{options.auto_dtype, options.dtype, options.dummy_weights, options.dummy_seed};
    std::shared_ptr<const Weights> shared = key == key_ ? weights_.lock() : nullptr;
    if (shared == nullptr) {
      TUTTI_ASSIGN_OR_RETURN(Weights loaded, load());
      shared = std::make_shared<const Weights>(std::move(loaded));
      weights_ = shared;
      key_ = key;
    }
    Weights copy = *shared;
    copy.shared = std::move(shared);
    return copy;
  }

 private:
  using Key = std::tuple<bool, DType, bool, uint64_t>;
  std::mutex mutex_;
  Key key_;
  std::weak_ptr<const Weights> weights_;
};

class Qwen3OmniMoePipeline final : public Pipeline {
 public:
  Qwen3OmniMoePipeline(Config config, GenerationDefaults defaults, Frontend frontend)
      : config_(std::move(config)),
        defaults_(std::move(defaults)),
        text_(std::move(frontend.text)),
        media_(std::move(frontend.media)) {
    build_stages();
    build_voices();
  }

  std::string_view family() const override { return "qwen3_omni_moe"; }
  const std::vector<StageSpec>& stages() const override { return stages_; }
  std::shared_ptr<const Tokenizer> tokenizer() const override { return text_.tokenizer; }
  const std::vector<std::string>& voices() const override { return voices_; }
  Result<StageInput> process_prompt(const Prompt& prompt,
                                    const PromptOptions& options) const override;
  Result<std::string> resolve_voice(const std::string& voice) const override;
  Result<std::unique_ptr<ArModel>> load_ar(int32_t stage, const LoadOptions&) const override;
  Result<std::unique_ptr<GenerationModel>> load_generation(int32_t stage,
                                                           const LoadOptions&) const override;
  Result<StageFootprint> footprint(int32_t stage, const LoadOptions& options,
                                   const StepLimits& limits) const override;

 private:
  Result<std::string> render_chat(const ChatPrompt& prompt, const PromptOptions& options) const;
  Result<StageInput> embeds_input(const EmbedsPrompt& prompt) const;
  Result<PromptMedia> raw_media(const std::vector<MediaItem>& items) const;
  Result<PromptMedia> chat_media(const ChatPrompt& prompt) const;
  void build_stages();
  void build_voices();

  Config config_;
  GenerationDefaults defaults_;
  TextFrontend text_;
  std::optional<MediaProcessor> media_;
  std::vector<StageSpec> stages_;
  std::vector<std::string> voices_;
  mutable SharedWeights<Thinker::Weights> thinker_weights_;
  mutable SharedWeights<Talker::Weights> talker_weights_;
  mutable SharedWeights<Code2WavNetwork> code2wav_weights_;
};

void Qwen3OmniMoePipeline::build_stages() {
  StageSpec thinker;
  thinker.model_stage = "thinker";
  thinker.final_output = true;
  thinker.final_output_type = "text";
  thinker.has_text_output = true;
  thinker.default_sampling_params = defaults_.thinker;
  thinker.sampling_from_checkpoint = defaults_.thinker_given;
  stages_.push_back(std::move(thinker));
  if (!config_.has_talker) return;
  StageSpec talker;
  talker.model_stage = "talker";
  talker.sources = {kThinker};
  talker.input_processor = pass_on;
  talker.default_sampling_params = defaults_.talker;
  talker.sampling_from_checkpoint = defaults_.talker_given;
  stages_.push_back(std::move(talker));
  StageSpec code2wav;
  code2wav.model_stage = "code2wav";
  code2wav.type = StageType::kGeneration;
  code2wav.sources = {kTalker};
  code2wav.input_processor = pass_on;
  code2wav.final_output = true;
  code2wav.final_output_type = "audio";
  stages_.push_back(std::move(code2wav));
}

void Qwen3OmniMoePipeline::build_voices() {
  for (const auto& [name, id] : config_.talker.speaker_id) {
    const bool is_default = ascii_lower(name) == kDefaultVoice;
    voices_.insert(is_default ? voices_.begin() : voices_.end(), capitalised(name));
  }
}

Result<std::string> Qwen3OmniMoePipeline::resolve_voice(const std::string& voice) const {
  const std::string wanted =
      ascii_lower(voice.empty() && !voices_.empty() ? voices_.front() : voice);
  for (const auto& [name, id] : config_.talker.speaker_id) {
    if (ascii_lower(name) == wanted) return name;
  }
  if (voices_.empty()) {
    return invalid_argument("`voice` is '" + voice + "'; this model does not speak.")
        .with_param("voice");
  }
  return invalid_argument("`voice` is '" + voice + "'; this model has: " + join(voices_) + ".")
      .with_param("voice");
}

Result<StageInput> Qwen3OmniMoePipeline::process_prompt(const Prompt& prompt,
                                                        const PromptOptions& options) const {
  if (const auto* embeds = std::get_if<EmbedsPrompt>(&prompt)) return embeds_input(*embeds);
  StageInput input;
  std::vector<int32_t>& ids = input.payload.token_ids;
  PromptMedia media;
  if (const auto* tokens = std::get_if<TokensPrompt>(&prompt)) {
    ids = tokens->token_ids;
    TUTTI_ASSIGN_OR_RETURN(media, raw_media(tokens->multi_modal_data));
  } else if (text_.tokenizer == nullptr) {
    return invalid_argument(
        "This model directory has no tokenizer; only prompts of token ids are allowed.");
  } else {
    if (const auto* text = std::get_if<TextPrompt>(&prompt)) {
      const bool special = options.add_special_tokens.value_or(!options.continues);
      TUTTI_ASSIGN_OR_RETURN(ids,
                             text_.tokenizer->encode(text->text, {.add_special_tokens = special}));
      TUTTI_ASSIGN_OR_RETURN(media, raw_media(text->multi_modal_data));
    } else {
      const auto& chat = std::get<ChatPrompt>(prompt);
      TUTTI_ASSIGN_OR_RETURN(const std::string rendered, render_chat(chat, options));
      TUTTI_ASSIGN_OR_RETURN(media, chat_media(chat));
      const bool special = options.add_special_tokens.value_or(false);
      TUTTI_ASSIGN_OR_RETURN(ids,
                             text_.tokenizer->encode(rendered, {.add_special_tokens = special}));
    }
  }
  Result<std::vector<int32_t>> expanded = expand_placeholders(config_.thinker, ids, media);
  if (!expanded) {
    const bool is_chat = std::holds_alternative<ChatPrompt>(prompt);
    return std::move(expanded).error().with_param(is_chat ? "messages" : "multi_modal_data");
  }
  ids = std::move(expanded).value();
  if (ids.empty()) return invalid_argument("The prompt is empty; expected at least one token.");
  put_media(media, true, input.payload);
  return input;
}

Result<StageInput> Qwen3OmniMoePipeline::embeds_input(const EmbedsPrompt& prompt) const {
  const int64_t hidden = config_.thinker.text.hidden_size;
  const auto count = static_cast<int64_t>(prompt.values.size());
  if (prompt.hidden_size != hidden) {
    return invalid_argument(fmt::format("The prompt's embeddings have {} numbers a row; this model "
                                        "takes {}.",
                                        prompt.hidden_size, hidden))
        .with_param("prompt");
  }
  if (count == 0 || count % hidden != 0) {
    return invalid_argument(fmt::format("The prompt's embeddings have {} numbers; they must be one "
                                        "or more rows of {}.",
                                        count, hidden))
        .with_param("prompt");
  }
  StageInput input;
  input.payload.tensors["embeds"] = Tensor::from_vector(prompt.values, {count / hidden, hidden});
  return input;
}

// Of a prompt without messages; its items are named by kind and number like those of a chat.
Result<PromptMedia> Qwen3OmniMoePipeline::raw_media(const std::vector<MediaItem>& items) const {
  ChatPrompt carrier;
  carrier.messages.resize(1);
  for (const MediaItem& item : items) carrier.messages[0].content.push_back({"", item});
  Result<PromptMedia> media = chat_media(carrier);
  if (!media) return std::move(media).error().with_param("multi_modal_data");
  return media;
}

Result<PromptMedia> Qwen3OmniMoePipeline::chat_media(const ChatPrompt& prompt) const {
  bool any = false;
  for (const ChatMessage& message : prompt.messages) {
    any = any || std::ranges::any_of(message.content, [](const ContentPart& part) {
            return part.media.has_value();
          });
  }
  if (!any) return PromptMedia();
  if (!media_) {
    return invalid_argument(
        "This model directory has no preprocessor settings; only text parts are allowed.");
  }
  return media_->features(prompt);
}

Result<std::string> Qwen3OmniMoePipeline::render_chat(const ChatPrompt& prompt,
                                                      const PromptOptions& options) const {
  if (text_.chat_template == nullptr) {
    return invalid_argument(
        "This model directory has no chat template; only text and token prompts are allowed.");
  }
  return tutti::render_chat(*text_.chat_template, prompt, options);
}

// Asks a loader for one stage's weights and reports what it took. `ignored`: parts that are not
// loaded, and constants that some writers store.
template <typename Build>
auto load_weights(const LoadOptions& options, const std::string& stage,
                  std::vector<std::string> prefixes, std::vector<std::string> ignored, Build build)
    -> Result<decltype(build(std::declval<WeightLoader&>()))> {
  WeightLoaderOptions loading;
  if (!options.auto_dtype) {
    if (options.dtype != DType::kF32 && options.dtype != DType::kBF16) {
      return invalid_argument("`dtype` is " + std::string(dtype_name(options.dtype)) +
                              "; allowed are auto, float32 and bfloat16.")
          .with_param("dtype");
    }
    loading.dtype = options.dtype;
  }
  loading.prefixes = std::move(prefixes);
  loading.ignored_prefixes = std::move(ignored);
  loading.cancel = options.cancel;
  if (options.on_progress) {
    loading.on_progress = [&](double fraction) {
      options.on_progress(fraction, "reading weights");
    };
  }
  std::unique_ptr<WeightLoader> loader;
  if (options.dummy_weights) {
    loader = make_dummy_loader(options.dummy_seed, loading);
  } else {
    TUTTI_ASSIGN_OR_RETURN(auto checkpoint, Checkpoint::open(options.model_dir));
    loader = make_checkpoint_loader(std::move(checkpoint), loading);
  }
  auto built = build(*loader);
  TUTTI_RETURN_IF_ERROR(loader->finish());
  const LoadStats& stats = loader->stats();
  const std::string what =
      fmt::format("{} tensors, {} in {:.2f} s ({:.1f} GB/s)", stats.tensors,
                  human_bytes(static_cast<double>(stats.bytes)), stats.seconds, stats.gb_per_s());
  spdlog::info("{}: {}", stage, what);
  if (options.on_progress) options.on_progress(1.0, what);
  return built;
}

Result<std::unique_ptr<ArModel>> Qwen3OmniMoePipeline::load_ar(int32_t stage,
                                                               const LoadOptions& options) const {
  if (stage == kThinker) {
    // Constants that some writers store, and encoders that the config does not have.
    std::vector<std::string> ignored = {"thinker.model.rotary_emb.",
                                        "thinker.visual.rotary_pos_emb.",
                                        "thinker.audio_tower.positional_embedding."};
    if (!config_.thinker.audio) ignored.push_back("thinker.audio_tower.");
    if (!config_.thinker.vision) ignored.push_back("thinker.visual.");
    if (config_.thinker.tie_word_embeddings) ignored.push_back("thinker.lm_head.");
    TUTTI_ASSIGN_OR_RETURN(auto weights, thinker_weights_.get(options, [&] {
      return load_weights(options, "thinker", {"thinker."}, ignored,
                          [&](WeightLoader& w) { return Thinker::load(w, config_.thinker); });
    }));
    const DType dtype = weights.embed_tokens.dtype();
    return std::unique_ptr<ArModel>(std::make_unique<Thinker>(
        config_.thinker, config_.talker.accept_hidden_layer, std::move(weights),
        defaults_.eos_token_ids, dtype, options.mm_cache_bytes));
  }
  TUTTI_CHECK(stage == kTalker && config_.has_talker, "the thinker and the talker are AR stages");
  TUTTI_ASSIGN_OR_RETURN(auto weights, talker_weights_.get(options, [&] {
    return load_weights(options, "talker", {"talker."},
                        {"talker.model.rotary_emb.", "talker.code_predictor.model.rotary_emb."},
                        [&](WeightLoader& w) { return Talker::load(w, config_); });
  }));
  const DType dtype = weights.codec_embedding.dtype();
  return std::unique_ptr<ArModel>(std::make_unique<Talker>(config_, std::move(weights), dtype));
}

Result<std::unique_ptr<GenerationModel>> Qwen3OmniMoePipeline::load_generation(
    int32_t stage, const LoadOptions& options) const {
  TUTTI_CHECK(stage == kCode2Wav && config_.has_talker, "code2wav is the generation stage");
  TUTTI_ASSIGN_OR_RETURN(auto network, code2wav_weights_.get(options, [&] {
    return load_weights(
        options, "code2wav", {"code2wav."},
        {"code2wav.code_offset", "code2wav.pre_transformer.rotary_emb."},
        [&](WeightLoader& w) { return load_code2wav_network(w, config_.code2wav); });
  }));
  return std::unique_ptr<GenerationModel>(
      std::make_unique<Code2Wav>(config_.code2wav, std::move(network), defaults_.fade_in_s));
}

Result<StageFootprint> Qwen3OmniMoePipeline::footprint(int32_t stage, const LoadOptions& options,
                                                       const StepLimits& limits) const {
  std::shared_ptr<const Checkpoint> checkpoint;
  if (!options.dummy_weights) {
    TUTTI_ASSIGN_OR_RETURN(checkpoint, Checkpoint::open(options.model_dir));
  }
  MeasuringLoader loader(
      checkpoint, options.auto_dtype ? std::optional<DType>() : std::optional(options.dtype));
  StageFootprint out;
  if (stage == kThinker) {
    (void)Thinker::load(loader, config_.thinker);
    out.ar = decoder_info(config_.thinker.text,
                          loader.matrix_dtype("thinker.model.embed_tokens.weight"));
    out.workspace_bytes = thinker_workspace_bytes(config_.thinker, limits);
    out.caches_media = config_.thinker.audio.has_value() || config_.thinker.vision.has_value();
  } else if (stage == kTalker) {
    (void)Talker::load(loader, config_);
    out.ar = decoder_info(config_.talker.text,
                          loader.matrix_dtype("talker.model.codec_embedding.weight"));
    out.workspace_bytes = talker_workspace_bytes(config_.talker, limits);
  } else {
    (void)load_code2wav_network(loader, config_.code2wav);
    out.workspace_bytes = code2wav_workspace_bytes(config_.code2wav, limits);
    out.bytes_per_sequence = code2wav_sequence_bytes(config_.code2wav);
  }
  out.mapped_weight_bytes = static_cast<int64_t>(loader.mapped_bytes());
  out.copied_weight_bytes = static_cast<int64_t>(loader.copied_bytes());
  return out;
}

// A directory with a config alone serves benchmarks with dummy weights.
Result<TextFrontend> load_text_frontend(const std::filesystem::path& dir) {
  const auto has = [&](const char* name) {
    std::error_code ignored;
    return std::filesystem::exists(dir / name, ignored);
  };
  TextFrontend text;
  if (has("tokenizer.json") || has("vocab.json")) {
    TUTTI_ASSIGN_OR_RETURN(text.tokenizer, Tokenizer::load(dir));
  }
  if (has("chat_template.jinja") || has("chat_template.json")) {
    TUTTI_ASSIGN_OR_RETURN(text.chat_template, text::ChatTemplate::load(dir));
  } else if (has("tokenizer_config.json")) {
    TUTTI_ASSIGN_OR_RETURN(const auto config, read_json_object(dir / "tokenizer_config.json"));
    if (config.contains("chat_template")) {
      TUTTI_ASSIGN_OR_RETURN(text.chat_template, text::ChatTemplate::load(dir));
    }
  }
  return text;
}

// None when the directory has no settings for media.
Result<std::optional<MediaProcessor>> load_media_processor(const LoadOptions& options,
                                                           const ThinkerConfig& config) {
  std::optional<MediaProcessor> none;
  auto settings = load_preprocessor_config(options.model_dir.string());
  if (!settings.ok() && settings.error().code() == StatusCode::kNotFound) return none;
  TUTTI_RETURN_IF_ERROR(settings.status());
  TUTTI_ASSIGN_OR_RETURN(MediaProcessor processor,
                         MediaProcessor::create(*settings, config, options.media_sources));
  return std::optional(std::move(processor));
}

}  // namespace

Result<std::unique_ptr<Pipeline>> open(const LoadOptions& options) {
  TUTTI_ASSIGN_OR_RETURN(Config config, read_config(options.model_dir));
  TUTTI_ASSIGN_OR_RETURN(GenerationDefaults defaults,
                         read_generation_defaults(options.model_dir, config));
  Frontend frontend;
  TUTTI_ASSIGN_OR_RETURN(frontend.text,
                         load_text_frontend(options.tokenizer_dir.empty() ? options.model_dir
                                                                          : options.tokenizer_dir));
  TUTTI_ASSIGN_OR_RETURN(frontend.media, load_media_processor(options, config.thinker));
  return std::unique_ptr<Pipeline>(std::make_unique<Qwen3OmniMoePipeline>(
      std::move(config), std::move(defaults), std::move(frontend)));
}

}  // namespace tutti::qwen3_omni_moe
