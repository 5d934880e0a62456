# cmake -DOUTPUT=assets.cc -DROOTS="dir=prefix;..." -P EmbedAssets.cmake: writes the files below each directory into one
# C++ source, for src/serve/assets.h.
set(bodies "")
set(table "")
set(index 0)
foreach(root ${ROOTS})
  file(GLOB_RECURSE files RELATIVE ${root} ${root}/*)
  list(SORT files)
  foreach(file ${files})
    file(READ ${root}/${file} hex HEX)
    file(SHA256 ${root}/${file} hash)
    string(SUBSTRING ${hash} 0 16 hash)
    string(LENGTH "${hex}" digits)
    math(EXPR bytes "${digits} / 2")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
    string(APPEND bodies "constexpr unsigned char k${index}[] = {${hex}0};\n")
    string(APPEND table
           "    {\"${file}\", \"\\\"${hash}\\\"\", {reinterpret_cast<const char*>(k${index}), ${bytes}}},\n")
    math(EXPR index "${index} + 1")
  endforeach()
endforeach()
file(WRITE ${OUTPUT} "// Generated from the files that the table names.
#include \"serve/assets.h\"

namespace tutti::serve {
namespace {
${bodies}
const Asset kAssets[] = {
${table}};
}  // namespace

std::span<const Asset> embedded_assets() { return kAssets; }

}  // namespace tutti::serve
")
