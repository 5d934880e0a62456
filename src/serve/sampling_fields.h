// Sampling parameters out of a request's JSON, by OpenAI's and vLLM's names.
#pragma once

#include <vector>

#include "tutti/sampling_params.h"

#include "serve/fields.h"

namespace tutti::serve {

// The fields that chat completions, completions and responses share, onto stage 0 of `params`;
// `seed` onto every stage.
void read_sampling_fields(Fields& fields, std::vector<SamplingParams>& params);
// All fields of one entry of `sampling_params_list`.
void read_sampling_object(Fields& fields, SamplingParams& params);
// vLLM-Omni's `sampling_params_list`: one object (or null: defaults) per stage.
void read_sampling_params_list(Fields& fields, std::vector<SamplingParams>& params);

}  // namespace tutti::serve
