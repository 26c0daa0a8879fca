interface SwitchProps {
  readonly label: string;
  readonly isOn: boolean;
  readonly onChange: (isOn: boolean) => void;
  readonly testId: string;
}

export function Switch({ label, isOn, onChange, testId }: SwitchProps) {
  return (
    <button
      type="button"
      className="switch"
      role="switch"
      aria-checked={isOn}
      data-testid={testId}
      onClick={() => onChange(!isOn)}
    >
      <span className="track" aria-hidden="true" />
      {label}
    </button>
  );
}
