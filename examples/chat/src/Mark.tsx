// The sign of the house: what was, what is, what will be.
export function Mark() {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true">
      <path d="M5 3h22L16 16zM5 29h22L16 16z" />
    </svg>
  );
}
