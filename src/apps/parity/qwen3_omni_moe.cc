#include "apps/parity/qwen3_omni_moe.h"

#include <algorithm>
#include <boost/json.hpp>

#include "apps/parity/ar_driver.h"
#include "apps/parity/case_prompt.h"
#include "base/json_file.h"
#include "models/pipeline.h"
#include "models/qwen3_omni_moe/talker.h"
#include "models/qwen3_omni_moe/thinker.h"
#include "text/tokenizer.h"

namespace tutti::parity {

namespace json = boost::json;
namespace qwen = qwen3_omni_moe;

namespace {

std::vector<int64_t> widen(std::span<const int32_t> ids) { return {ids.begin(), ids.end()}; }

std::vector<int32_t> narrow(std::span<const int64_t> ids) {
  std::vector<int32_t> out;
  for (int64_t id : ids) out.push_back(static_cast<int32_t>(id));
  return out;
}

void extend(std::vector<float>& to, const std::vector<float>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

// [rows, columns] as [columns, rows].
template <typename T>
std::vector<T> transposed(std::span<const T> values, int64_t rows, int64_t columns) {
  std::vector<T> out(values.size());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) out[c * rows + r] = values[r * columns + c];
  }
  return out;
}

class Checker {
 public:
  Checker(const ParityOptions& options, Report& report) : options_(options), report_(report) {}

  Status load();
  Status run_case(const std::filesystem::path& dir);

 private:
  bool exact() const { return report_.precision() == Precision::kF32; }
  Status check_text(const json::object& info);
  int64_t prompt_length() const { return static_cast<int64_t>(input_.payload.token_ids.size()); }
  Status check_features();
  Status check_thinker_prompt();
  Status check_thinker_steps(const json::object& info);
  void compare_prompt_probes(const qwen::ThinkerSequence& sequence);
  Status check_talker(const json::object& info);
  void run_talker_steps(ArDriver& driver, int64_t prompt_length, std::vector<int64_t>& first_codes,
                        std::vector<float>& logits);
  void compare_code_predictor(const qwen::TalkerSequence& sequence);
  void check_talker_steps(ArDriver& driver, int64_t prompt_length);
  Status check_penalty(const json::object& info);
  Status check_wave(std::span<const int32_t> codes);
  Status check_code2wav();
  Result<std::unique_ptr<ArDriver>> start_thinker(int64_t more);
  Result<std::unique_ptr<ArDriver>> start_talker(const json::object& info);
  Result<std::vector<float>> decode(std::span<const int32_t> codes);
  Result<std::vector<float>> decode_chunked(std::span<const int32_t> codes, int64_t chunk,
                                            int64_t left);

  const ParityOptions& options_;
  Report& report_;
  std::unique_ptr<DeviceExecutor> executor_;
  std::unique_ptr<Pipeline> pipeline_;
  std::unique_ptr<ArModel> thinker_;
  std::unique_ptr<ArModel> talker_;
  std::unique_ptr<GenerationModel> code2wav_;
  qwen::Config config_;
  ProbeLog log_;
  StageInput input_;                    // of the case
  std::vector<StagePayload> payloads_;  // of the case's thinker, one per step
};

Status Checker::load() {
  LoadOptions load;
  load.model_dir = options_.dir / "checkpoint";
  load.auto_dtype = false;
  load.dtype = exact() ? DType::kF32 : DType::kBF16;
  executor_ = DeviceExecutor::create_cpu(options_.num_threads);
  TUTTI_ASSIGN_OR_RETURN(config_, qwen::read_config(load.model_dir));
  TUTTI_ASSIGN_OR_RETURN(pipeline_, open_pipeline(load));
  TUTTI_ASSIGN_OR_RETURN(thinker_, pipeline_->load_ar(0, load));
  TUTTI_ASSIGN_OR_RETURN(talker_, pipeline_->load_ar(1, load));
  TUTTI_ASSIGN_OR_RETURN(code2wav_, pipeline_->load_generation(2, load));
  return Status();
}

Status Checker::run_case(const std::filesystem::path& dir) {
  TUTTI_ASSIGN_OR_RETURN(const json::object info, read_json_object(dir / "case.json"));
  const std::string name = dir.filename().string();
  const json::value* messages = info.if_contains("messages");
  TUTTI_ASSIGN_OR_RETURN(auto golden, SafetensorsFile::open(dir / "case.safetensors"));
  report_.begin_case(name, std::move(golden));
  TUTTI_RETURN_IF_ERROR(messages != nullptr ? check_text(info) : check_code2wav());
  report_.end_case(exact() ? "the project does not compute it"
                           : "choices and what follows from them may differ in bfloat16");
  return Status();
}

Status Checker::check_text(const json::object& info) {
  TUTTI_ASSIGN_OR_RETURN(const ChatPrompt prompt, case_prompt(info, options_.media));
  TUTTI_ASSIGN_OR_RETURN(input_, pipeline_->process_prompt(prompt));
  const std::vector<int32_t>& ids = input_.payload.token_ids;
  if (input_.payload.tensors.empty()) {  // without placeholders that stand for many
    report_.compare_text("chat_text", std::string(info.at("chat_text").as_string()),
                         pipeline_->tokenizer()->decode(ids));
  }
  report_.compare_ids("input_ids", widen(ids));
  TUTTI_RETURN_IF_ERROR(check_features());
  // What the text around a wrong placeholder would be is of no use; the stored ids go on.
  input_.payload.token_ids = narrow(report_.integers("input_ids"));
  TUTTI_RETURN_IF_ERROR(check_thinker_prompt());
  TUTTI_RETURN_IF_ERROR(check_thinker_steps(info));
  if (!report_.has("talker.inputs_embeds")) return Status();
  return check_talker(info);
}

// What the prompt's media were made into, before the encoders.
Status Checker::check_features() {
  TUTTI_ASSIGN_OR_RETURN(const auto media, qwen::take_media(input_.payload, config_.thinker));
  std::vector<int64_t> frames;
  std::vector<float> seconds;
  std::map<MediaKind, std::vector<int64_t>> grids;
  std::map<MediaKind, std::vector<float>> patches;
  for (const qwen::MediaInput& item : media.items) {
    const auto* values = item.features.data<float>();
    const std::vector<float> features(values, values + item.features.num_elements());
    if (item.kind == MediaKind::kAudio) {
      report_.compare("audio.mel." + std::to_string(frames.size()), features, kMelTolerance);
      frames.push_back(item.grid_thw[0]);
      continue;
    }
    std::ranges::copy(item.grid_thw, std::back_inserter(grids[item.kind]));
    extend(patches[item.kind], features);
    if (item.kind == MediaKind::kVideo) seconds.push_back(static_cast<float>(item.second_per_grid));
  }
  report_.compare_ids("audio.feature_lens", frames);
  for (const MediaKind kind : {MediaKind::kImage, MediaKind::kVideo}) {
    const std::string name = qwen::kind_name(kind);
    report_.compare_ids(name + ".grid_thw", grids[kind]);
    report_.compare(name + ".pixel_values", patches[kind], kPixelTolerance);
  }
  report_.compare("video.second_per_grid", seconds, 0);
  return Status();
}

Result<std::unique_ptr<ArDriver>> Checker::start_thinker(int64_t more) {
  TUTTI_ASSIGN_OR_RETURN(auto sequence, thinker_->start(input_));
  return std::make_unique<ArDriver>(*thinker_, *executor_, std::move(sequence),
                                    prompt_length() + more);
}

// The logits of the stored prompt positions, each position sampled in a step of its own.
Status Checker::check_thinker_prompt() {
  const int64_t length = prompt_length();
  const int64_t rows = report_.shape("logits")[0];
  TUTTI_ASSIGN_OR_RETURN(const auto driver, start_thinker(0));
  if (rows < length) driver->prefill(length - rows);
  std::vector<float> logits;
  while (driver->length() < length) {
    extend(logits, driver->step(1, [](auto) { return ArDriver::Choice{0, true}; }));
  }
  report_.compare("logits", logits, kHiddenTolerance);
  return Status();
}

// What encoders and layers computed while the whole prompt was one step.
void Checker::compare_prompt_probes(const qwen::ThinkerSequence& sequence) {
  for (const std::string kind : {"audio", "image", "video"}) {
    for (const std::string part : {"layer", "deepstack"}) {
      for (int64_t i = 0;; ++i) {
        const std::string name = kind + "." + part + "." + std::to_string(i);
        if (!report_.has(name)) break;
        report_.compare(name, log_.last(name), kHiddenTolerance);
      }
    }
    report_.compare(kind + ".embeds", log_.last(kind + ".embeds"), kHiddenTolerance);
  }
  report_.compare("position_ids", log_.last("position_ids"), 0);
  report_.compare("rope_delta", std::array{sequence.rope.delta()}, 0);
  for (int64_t i = 0; i <= thinker_->info().num_layers; ++i) {
    for (const std::string what : {"hidden.", "layer_input."}) {
      const std::string name = what + std::to_string(i);
      report_.compare(name, log_.last(name), kHiddenTolerance);
    }
  }
}

Status Checker::check_thinker_steps(const json::object& info) {
  const int64_t length = prompt_length();
  thinker_->reset_mm_cache();  // the probes see encoders at work, not what they made before
  const auto max_tokens = info.at("thinker_max_new_tokens").to_number<int64_t>();
  const auto eos = info.at("eos_token_id").to_number<int32_t>();
  const std::vector<int64_t> golden = report_.integers("greedy_ids");
  TUTTI_ASSIGN_OR_RETURN(const auto driver, start_thinker(max_tokens));
  std::vector<int64_t> ids;
  std::vector<float> logits;
  payloads_.clear();
  log_.clear();
  bool ends = false;
  while (!ends) {
    const bool begins = ids.empty();
    thinker_->set_probe(begins ? log_.probe() : Probe());
    extend(logits, driver->step(begins ? length : 1, [&](std::span<const float> row) {
      // bfloat16 follows the stored choices, so that every step's logits can be compared.
      const int32_t token =
          exact() ? choose_greedy(row, {}, 1.0f, {}) : static_cast<int32_t>(golden[ids.size()]);
      ids.push_back(token);
      ends = token == eos || static_cast<int64_t>(ids.size()) == max_tokens;
      return ArDriver::Choice{token, ends};
    }));
    payloads_.push_back(thinker_->take_payload(driver->sequence()));
  }
  thinker_->set_probe({});
  compare_prompt_probes(static_cast<const qwen::ThinkerSequence&>(driver->sequence()));
  if (exact()) report_.compare_ids("greedy_ids", ids);
  report_.compare("greedy_logits", logits, kHiddenTolerance);
  report_.compare_top8("greedy_logits", logits, thinker_->info().vocab_size);
  return Status();
}

// A talker sequence that has got the thinker's chunks.
Result<std::unique_ptr<ArDriver>> Checker::start_talker(const json::object& info) {
  const json::object& talker = info.at("talker").as_object();
  TUTTI_ASSIGN_OR_RETURN(const std::string voice,
                         pipeline_->resolve_voice(std::string(talker.at("speaker").as_string())));
  StageInput input;
  input.payload = payloads_.front();
  input.last = false;
  input.voice = voice;
  TUTTI_ASSIGN_OR_RETURN(auto sequence, talker_->start(input));
  for (size_t i = 1; i < payloads_.size(); ++i) {
    TUTTI_RETURN_IF_ERROR(talker_->append(*sequence, payloads_[i], false));
  }
  TUTTI_RETURN_IF_ERROR(talker_->append(*sequence, {}, true));
  const int64_t length = talker_->prompt_length(*sequence);
  if (length < 0) return internal_error("The talker got no text.");
  const auto max_tokens = talker.at("max_new_tokens").to_number<int64_t>();
  return std::make_unique<ArDriver>(*talker_, *executor_, std::move(sequence), length + max_tokens);
}

Status Checker::check_talker(const json::object& info) {
  TUTTI_ASSIGN_OR_RETURN(const auto driver, start_talker(info));
  const int64_t prompt_length = talker_->prompt_length(driver->sequence());
  check_talker_steps(*driver, prompt_length);
  if (!exact()) return Status();
  const auto& sequence = static_cast<const qwen::TalkerSequence&>(driver->sequence());
  TUTTI_RETURN_IF_ERROR(check_wave(sequence.codes));
  return check_penalty(info);
}

// Runs the talker as far as the case goes. bfloat16 follows the stored codes.
void Checker::run_talker_steps(ArDriver& driver, int64_t prompt_length,
                               std::vector<int64_t>& first_codes, std::vector<float>& logits) {
  const std::vector<int64_t> golden_sequence = report_.integers("talker.sequence");
  const std::vector<int64_t> golden_codes = report_.integers("talker.codes");  // [G, F]
  const int64_t groups = report_.shape("talker.codes")[0];
  const int64_t frames = report_.shape("talker.codes")[1];
  auto& sequence = static_cast<qwen::TalkerSequence&>(driver.sequence());
  const ArModelInfo& model = talker_->info();
  for (int64_t i = 0; i < static_cast<int64_t>(golden_sequence.size()); ++i) {
    extend(logits, driver.step(i == 0 ? prompt_length : 1, [&](std::span<const float> row) {
      const int32_t token =
          exact() ? choose_greedy(row, driver.generated(), 1.0f, model.suppressed_token_ids)
                  : static_cast<int32_t>(golden_sequence[i]);
      first_codes.push_back(token);
      return ArDriver::Choice{token, token == model.eos_token_ids[0]};
    }));
    if (first_codes.back() == model.eos_token_ids[0]) break;
    if (exact() || i >= frames) continue;
    for (int64_t g = 0; g < groups; ++g) {
      sequence.codes[i * groups + g] = static_cast<int32_t>(golden_codes[g * frames + i]);
    }
  }
}

void Checker::check_talker_steps(ArDriver& driver, int64_t prompt_length) {
  auto& sequence = static_cast<qwen::TalkerSequence&>(driver.sequence());
  report_.compare_ids("talker.input_ids", widen(sequence.inputs.position_ids()));
  log_.clear();
  talker_->set_probe(log_.probe());
  std::vector<int64_t> first_codes;
  std::vector<float> logits;
  run_talker_steps(driver, prompt_length, first_codes, logits);
  talker_->set_probe({});

  // The first call of a probe is the prompt's, the others are steps.
  const auto prompt_part = [&](const std::string& name) {
    const auto& calls = log_.calls(name);
    return calls.empty() ? std::vector<float>() : calls.front();
  };
  const auto step_part = [&](const std::string& name) {
    std::vector<float> out;
    const auto& calls = log_.calls(name);
    for (size_t i = 1; i < calls.size(); ++i) extend(out, calls[i]);
    return out;
  };
  const auto hidden = [](int64_t i) { return "talker.hidden." + std::to_string(i); };
  report_.compare("talker.inputs_embeds", prompt_part(hidden(0)), kHiddenTolerance);
  report_.compare("talker.position_ids", prompt_part("talker.position_ids"), 0);
  for (int64_t i = 0; i <= talker_->info().num_layers; ++i) {
    report_.compare(hidden(i), prompt_part(hidden(i)), kHiddenTolerance);
  }
  report_.compare("talker.step_positions", step_part("talker.position_ids"), 0);
  report_.compare("talker.step_inputs", step_part(hidden(0)), kHiddenTolerance);
  // Text rows of the steps: the trailing text as far as the steps go, then padding.
  const std::vector<float> text = step_part("talker.text_rows");
  const std::vector<float> trailing = report_.floats("talker.trailing_text_hidden");
  const size_t shown = std::min(text.size(), trailing.size());
  report_.compare_values("talker.trailing_text_hidden", std::span(trailing).first(shown),
                         std::span(text).first(shown), kHiddenTolerance);
  const auto width = static_cast<size_t>(report_.shape("talker.tts_pad_embed")[0]);
  if (text.size() > trailing.size()) {
    report_.compare("talker.tts_pad_embed", std::span(text).last(width), kHiddenTolerance);
  }
  if (exact()) report_.compare_ids("talker.sequence", first_codes);
  report_.compare("talker.step_logits", logits, kHiddenTolerance);
  report_.compare_top8("talker.step_logits", logits, talker_->info().vocab_size);
  std::vector<float> step_hidden;
  for (const auto& call : log_.calls("talker.step_hidden")) extend(step_hidden, call);
  report_.compare("talker.step_hidden", step_hidden, kHiddenTolerance);
  compare_code_predictor(sequence);
  if (!exact()) return;
  // The reference predicts residual codes only for frames that it feeds back.
  const int64_t groups = report_.shape("talker.codes")[0];
  const int64_t frames = report_.shape("talker.codes")[1];
  sequence.codes.resize(std::min<size_t>(sequence.codes.size(), frames * groups));
  const auto codes = widen(sequence.codes);
  report_.compare_ids(
      "talker.codes",
      transposed<int64_t>(codes, static_cast<int64_t>(codes.size()) / groups, groups));
}

// The code predictor ran once per frame: one input and G - 1 rows of logits each.
void Checker::compare_code_predictor(const qwen::TalkerSequence& sequence) {
  const int64_t groups = report_.shape("talker.codes")[0];
  const auto& inputs = log_.calls("code_predictor.inputs_embeds");
  const auto& logits = log_.calls("code_predictor.logits");
  for (int64_t f = 0; f < 2; ++f) {
    const std::string at = "code_predictor." + std::to_string(f);
    if (!report_.has(at + ".logits") || static_cast<int64_t>(inputs.size()) <= f) continue;
    report_.compare(at + ".inputs_embeds", inputs[f], kHiddenTolerance);
    if (!exact()) continue;
    std::vector<float> rows;
    std::vector<int64_t> residual;
    for (int64_t g = 1; g < groups; ++g) {
      extend(rows, logits[f * (groups - 1) + g - 1]);
      residual.push_back(sequence.codes[f * groups + g]);
    }
    report_.compare(at + ".logits", rows, kHiddenTolerance);
    report_.compare_ids(at + ".sequence", residual);
  }
}

Status Checker::check_penalty(const json::object& info) {
  const std::string name = "talker.codes_penalty_1.05";
  if (!report_.has(name)) return Status();
  const int64_t groups = report_.shape(name)[0];
  const int64_t frames = report_.shape(name)[1];
  const ArModelInfo& model = talker_->info();
  TUTTI_ASSIGN_OR_RETURN(const auto driver, start_talker(info));
  for (int64_t i = 0; i < frames; ++i) {
    const int64_t count = i == 0 ? talker_->prompt_length(driver->sequence()) : 1;
    bool ended = false;
    driver->step(count, [&](std::span<const float> row) {
      const int32_t token =
          choose_greedy(row, driver->generated(), 1.05f, model.suppressed_token_ids);
      ended = token == model.eos_token_ids[0];
      return ArDriver::Choice{token, ended};
    });
    if (ended) break;
  }
  const auto& sequence = static_cast<const qwen::TalkerSequence&>(driver->sequence());
  const auto codes = widen(sequence.codes);
  report_.compare_ids(
      name, transposed<int64_t>(codes, static_cast<int64_t>(codes.size()) / groups, groups));
  return Status();
}

// The waveform of frames [n, G], fed in one sequence.
Result<std::vector<float>> Checker::decode(std::span<const int32_t> codes) {
  const int64_t groups = report_.shape(report_.has("codes") ? "codes" : "talker.codes")[0];
  StageInput input;
  input.payload.tensors["codes"] =
      Tensor::from_vector(std::vector<int32_t>(codes.begin(), codes.end()),
                          {static_cast<int64_t>(codes.size()) / groups, groups});
  TUTTI_ASSIGN_OR_RETURN(const auto sequence, code2wav_->start(input));
  std::vector<float> wave;
  while (code2wav_->pending_frames(*sequence) > 0) {
    GenerationModel::Work work{
        sequence.get(),
        std::min(code2wav_->pending_frames(*sequence), code2wav_->info().max_frames_per_step),
        {}};
    executor_->run({}, [&](OpContext& ctx) { code2wav_->run(ctx, {&work, 1}); });
    extend(wave, work.output.samples);
  }
  return wave;
}

// The reference's chunked decode: every chunk anew behind `left` frames of context, whose samples
// are dropped.
Result<std::vector<float>> Checker::decode_chunked(std::span<const int32_t> codes, int64_t chunk,
                                                   int64_t left) {
  const int64_t groups = report_.shape(report_.has("codes") ? "codes" : "talker.codes")[0];
  const int64_t frames = static_cast<int64_t>(codes.size()) / groups;
  const auto samples_per_frame =
      static_cast<size_t>(code2wav_->info().frame_s * code2wav_->info().sample_rate + 0.5);
  std::vector<float> wave;
  for (int64_t start = 0; start < frames; start += chunk) {
    const int64_t context = start - left > 0 ? left : start;
    const int64_t end = std::min(start + chunk, frames);
    TUTTI_ASSIGN_OR_RETURN(
        const auto part,
        decode(codes.subspan(static_cast<size_t>((start - context) * groups),
                             static_cast<size_t>((end - start + context) * groups))));
    const size_t dropped = std::min(part.size(), static_cast<size_t>(context) * samples_per_frame);
    wave.insert(wave.end(), part.begin() + static_cast<int64_t>(dropped), part.end());
  }
  return wave;
}

Status Checker::check_wave(std::span<const int32_t> codes) {
  constexpr int64_t kChunk = 300, kLeft = 25;  // of the reference's generate()
  TUTTI_ASSIGN_OR_RETURN(const auto wave, decode_chunked(codes, kChunk, kLeft));
  report_.compare("wave", wave, kWaveTolerance);
  std::vector<float> every31st;
  for (size_t i = 0; i < wave.size(); i += 31) every31st.push_back(wave[i]);
  report_.compare("wave_every31st", every31st, kWaveTolerance);
  return Status();
}

Status Checker::check_code2wav() {
  const std::vector<int64_t> golden = report_.integers("codes");  // [G, F]
  const int64_t groups = report_.shape("codes")[0], frames = report_.shape("codes")[1];
  const std::vector<int32_t> codes =
      narrow(transposed<int64_t>(std::span<const int64_t>(golden), groups, frames));
  report_.mark_input("codes");
  log_.clear();
  code2wav_->set_probe(log_.probe());
  TUTTI_ASSIGN_OR_RETURN(const auto wave, decode(codes));
  code2wav_->set_probe({});
  std::vector<float> pre, up;
  for (const auto& call : log_.calls("pre_transformer")) extend(pre, call);
  for (const auto& call : log_.calls("upsampled")) extend(up, call);
  report_.compare("pre_transformer", pre, kHiddenTolerance);
  const int64_t channels = report_.shape("upsampled")[0];
  report_.compare("upsampled",
                  transposed<float>(std::span<const float>(up),
                                    static_cast<int64_t>(up.size()) / channels, channels),
                  kHiddenTolerance);
  report_.compare("wave.one_shot", wave, kWaveTolerance);
  for (const auto& [chunk, left] : {std::pair<int64_t, int64_t>{25, 25}, {10, 4}}) {
    const std::string name = "wave.chunk" + std::to_string(chunk) + "_left" + std::to_string(left);
    TUTTI_ASSIGN_OR_RETURN(const auto chunked, decode_chunked(codes, chunk, left));
    report_.compare(name, chunked, kWaveTolerance);
  }
  return Status();
}

}  // namespace

Status check_qwen3_omni_moe(const ParityOptions& options, Report& report) {
  Checker checker(options, report);
  TUTTI_RETURN_IF_ERROR(checker.load());
  std::vector<std::filesystem::path> cases;
  for (const auto& entry : std::filesystem::directory_iterator(options.dir)) {
    if (std::filesystem::exists(entry.path() / "case.json")) cases.push_back(entry.path());
  }
  std::ranges::sort(cases);
  bool found = false;
  for (const auto& dir : cases) {
    if (!options.only_case.empty() && dir.filename() != options.only_case) continue;
    found = true;
    TUTTI_RETURN_IF_ERROR(checker.run_case(dir));
  }
  if (!found) {
    return not_found("'" + options.dir.string() + "' has no case" +
                     (options.only_case.empty() ? "s." : " '" + options.only_case + "'."));
  }
  return Status();
}

}  // namespace tutti::parity
