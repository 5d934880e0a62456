#include "serve/model_field.h"

namespace tutti::serve {

std::string read_model(Fields& fields, const ModelInfo& model) {
  std::string name = fields.string("model").value_or(model.name());
  if (fields.ok()) *fields.error() = model.check_model(name);
  return name;
}

}  // namespace tutti::serve
