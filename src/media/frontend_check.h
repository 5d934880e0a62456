// Compares sound and picture features with stored reference tensors: the audio and image parts of a
// golden `frontend` directory, which has the media files in ../media and the preprocessor settings
// in ../<family>/checkpoint. Names, sizes and families are read from audio.json and image.json.
//
// Thread: a free function, any thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tutti/status.h"

#include "tensor/tensor.h"

namespace tutti {

struct MediaCheck {
  std::string name;          // of the tensor, or of the table of image.json
  std::string measure = {};  // what `value` is; empty when nothing could be compared
  double value = 0;
  double allowed = 0;  // the largest value that passes; for a signal to difference the smallest
  // Of the absolute error to the stored value, over values of at least a thousandth of the peak.
  std::optional<double> relative = std::nullopt;
  bool passed = false;
  std::string note = {};  // why it failed without a value
};

struct MediaCheckReport {
  std::vector<MediaCheck> checks;
  std::vector<std::string> not_compared;  // stored tensors that no check looked at
};

// Gives tensor `name` of `file`, for example ("audio.safetensors", "mel_filters").
using TensorLookup =
    std::function<Result<Tensor>(const std::string& file, const std::string& name)>;

// Error when audio.json or image.json cannot be read; what fails later is a failed check.
Result<MediaCheckReport> check_frontend_media(const std::string& dir, const TensorLookup& lookup);

}  // namespace tutti
