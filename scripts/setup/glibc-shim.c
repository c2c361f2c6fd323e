/*
 * The three symbols that uWebSockets.js wants of glibc 2.38, as jumps to their older selves. They differ only in reading
 * binary literals ("0b1"), which nothing there uses. It is an N-API module because Node closes any other again.
 */
#include <node_api.h>
#include <stdarg.h>

/* Declared here, not included: newer headers redirect these very names. */
extern long strtol(const char *text, char **end, int base);
extern unsigned long strtoul(const char *text, char **end, int base);
extern int vsscanf(const char *text, const char *format, va_list values);

long __isoc23_strtol(const char *text, char **end, int base) { return strtol(text, end, base); }

unsigned long __isoc23_strtoul(const char *text, char **end, int base) { return strtoul(text, end, base); }

int __isoc23_sscanf(const char *text, const char *format, ...) {
  va_list values;
  va_start(values, format);
  int count = vsscanf(text, format, values);
  va_end(values);
  return count;
}

static napi_value init(napi_env env, napi_value exports) {
  (void)env;
  return exports;
}

NAPI_MODULE(glibc_shim, init)
