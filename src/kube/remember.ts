/**
 * Sets the key, as the newest. If the map then holds more than `most` keys, the oldest one is removed.
 */
export function remember<T>(map: Map<string, T>, key: string, value: T, most: number): void {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > most && oldest !== undefined) map.delete(oldest);
}
