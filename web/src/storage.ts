// What the browser keeps for the page. It may keep nothing: storage is blocked or full for some, who can use the page still.

export function remembered(storage: () => Storage, key: string): string | null {
  try {
    return storage().getItem(key);
  } catch {
    return null;
  }
}

export function remember(storage: () => Storage, key: string, value: string): void {
  try {
    storage().setItem(key, value);
  } catch {
    // It holds until the page is closed.
  }
}
