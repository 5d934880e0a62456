# cmake -DSOURCE=dir -DBINARY=dir [-DSCRIPT=build] -P NpmPackage.cmake: copies a folder with a package.json into the build
# tree, so that the source tree stays clean, installs its packages there and runs the script. Packages are installed again
# only when the lock file has changed; `npm install` and not `npm ci`, which insists on the optional packages of every
# platform.
file(GLOB sources LIST_DIRECTORIES true ${SOURCE}/*)
list(FILTER sources EXCLUDE REGEX "/(node_modules|dist)$")
file(COPY ${sources} DESTINATION ${BINARY})
file(SHA256 ${BINARY}/package-lock.json lock)
set(installed "")
if(EXISTS ${BINARY}/installed.txt)
  file(READ ${BINARY}/installed.txt installed)
endif()
if(NOT installed STREQUAL lock)
  execute_process(COMMAND npm install --no-audit --no-fund --loglevel=error WORKING_DIRECTORY ${BINARY}
                  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  file(WRITE ${BINARY}/installed.txt ${lock})
endif()
if(SCRIPT)
  execute_process(COMMAND npm run --silent ${SCRIPT} WORKING_DIRECTORY ${BINARY} COMMAND_ERROR_IS_FATAL ANY)
endif()
