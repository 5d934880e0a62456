// Pipeline: a loaded model as a graph of stages, and ModelFamily: how one is made from a directory.
//
// A family is one folder of src/models/; the registry is the only place that names it.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "tutti/options.h"
#include "tutti/request.h"

#include "media/media_source.h"
#include "models/ar_model.h"
#include "models/generation_model.h"
#include "models/stage_footprint.h"

namespace tutti::text {
class Tokenizer;  // text/tokenizer.h
}

namespace tutti {

using text::Tokenizer;

enum class StageType : uint8_t { kLlm, kGeneration, kDiffusion };

// One edge's stage input processor: a pure function of what the upstream stage has just put out.
// Called in order for every upstream output; `last` is true with the upstream's final one.
struct EdgeContext {
  int32_t from_stage = 0;
  int32_t to_stage = 0;
  std::string companion_role =
      {};  // of a companion's output ("negative"); empty: the request's own
};
using StageInputProcessor =
    std::function<Result<StagePayload>(const EdgeContext&, StagePayload upstream, bool last)>;

struct StageSpec {
  std::string model_stage;  // "thinker"
  StageType type = StageType::kLlm;
  std::vector<int32_t> sources;         // upstream stages; empty: takes the request's prompt
  StageInputProcessor input_processor;  // for the edges from `sources`
  bool final_output = false;
  std::string final_output_type;  // "text", "audio"
  bool has_text_output = false;   // tokens are text of the pipeline's tokenizer
  SamplingParams default_sampling_params;
  // Names of its fields that the checkpoint itself gives; the others are the family's.
  std::vector<std::string> sampling_from_checkpoint;
};

struct LoadOptions {
  std::filesystem::path model_dir;
  std::filesystem::path tokenizer_dir = {};  // of tokenizer and chat template; empty: model_dir
  DType dtype = DType::kF32;  // of weights in memory and of the KV cache; ignored when auto_dtype
  bool auto_dtype = true;     // keep what the checkpoint has
  bool dummy_weights = false;
  uint64_t dummy_seed = 0;
  int32_t max_num_seqs = 16;
  int64_t mm_cache_bytes = int64_t{256} << 20;  // of cached encoder outputs
  MediaSources media_sources;
  std::function<void(double fraction, const std::string& what)> on_progress;
  // Ends loading early, with an error.
  std::stop_token cancel = {};
};

// How a prompt becomes stage 0's input, beside the prompt itself.
struct PromptOptions {
  // Whether the tokenizer adds its special tokens; none: to text prompts, not to chats, whose
  // template has them.
  std::optional<bool> add_special_tokens = {};
  // A further segment of a session: of a chat the new messages alone are given.
  bool continues = false;
  // It follows an answer, whose turn is not closed yet, rather than input that got none.
  bool after_answer = false;
  // Its first message goes on with the one that the segment before left open.
  bool in_message = false;
};

// A model's stages and everything of it that is not a network. Immutable after loading.
class Pipeline {
 public:
  virtual ~Pipeline() = default;

  // The family's name; empty for pipelines without one.
  virtual std::string_view family() const { return {}; }

  virtual const std::vector<StageSpec>& stages() const = 0;
  virtual std::shared_ptr<const Tokenizer> tokenizer() const = 0;
  // Display names; the default first. Empty: no speech.
  virtual const std::vector<std::string>& voices() const = 0;

  // Stage 0's input from a prompt: template, tokenizer, media. Runs in the caller's thread and is
  // thread-safe. Errors name what was found and what is allowed.
  virtual Result<StageInput> process_prompt(const Prompt& prompt,
                                            const PromptOptions& options = {}) const = 0;
  // The model's spelling of a voice (names compare case-insensitively; empty: the default), or an
  // error that lists the known ones.
  virtual Result<std::string> resolve_voice(const std::string& voice) const = 0;

  // Loads one stage's network. May be called for different stages from different threads.
  virtual Result<std::unique_ptr<ArModel>> load_ar(int32_t stage, const LoadOptions&) const = 0;
  virtual Result<std::unique_ptr<GenerationModel>> load_generation(int32_t stage,
                                                                   const LoadOptions&) const = 0;
  // What one replica of the stage will take in memory, from config and headers alone; nothing for
  // pipelines that cannot tell.
  virtual Result<StageFootprint> footprint(int32_t /*stage*/, const LoadOptions&,
                                           const StepLimits&) const {
    return StageFootprint();
  }
};

struct ModelFamily {
  std::string name;                      // folder name: "qwen3_omni_moe"
  std::vector<std::string> model_types;  // config.json's model_type
  Result<std::unique_ptr<Pipeline>> (*open)(const LoadOptions& options);
};

// All families; models/registry.cc has one line for each.
const std::vector<ModelFamily>& model_families();
// Reads config.json of the directory and opens it with its family. Errors: missing directory, not a
// model directory, unknown model_type (lists the known ones).
Result<std::unique_ptr<Pipeline>> open_pipeline(const LoadOptions& options);

}  // namespace tutti
