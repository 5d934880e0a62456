// 16-bit mono samples, little-endian, as the API sends and takes them.

export const PCM_RATE = 24000;

export function decodePcm16(base64: string): Int16Array {
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length & ~1);
  for (let i = 0; i < bytes.length; ++i) bytes[i] = binary.charCodeAt(i);
  return new Int16Array(bytes.buffer);
}
